"""The other projects' own models: torchvision's is told what the command was; the others are asked where they are."""

from importlib.util import find_spec

import pytest
import torch

from model.importers.comparison import Found, same_share
from model.importers.detectron2 import detectron2_config, import_detectron2
from model.importers.layout import ImportRefused
from model.importers.mmdetection import STYLES, import_mmdetection, mmdetection_config
from model.importers.peers import detectron2_peer, mmdetection_peer, torchvision_peer
from model.importers.torchvision import import_torchvision
from model.network.detector import Detector
from tests.golden import CLASSES, expected, frame, state_dict
from tests.places import SHARED
from tests.references import photograph, torchvision_detector

CASES = SHARED / "reference" / "golden"
SMALL = "fasterrcnn_mobilenet_v3_large_320_fpn"


def ours(detector: Detector, image: torch.Tensor) -> Found:
    answer = detector.detect(image[None], torch.tensor([image.shape[1:]]))
    real = slice(int(answer.counts[0]))
    return Found(answer.boxes[0, real], answer.scores[0, real], answer.labels[0, real])


def test_torchvision_is_told_the_settings_that_the_command_was_told() -> None:
    state = torchvision_detector(SMALL).state_dict()
    settings = ["anchors.sizes=[16,32,64,128,256]", "roi.score_threshold=0.02"]
    detector = import_torchvision(state, settings=settings, model=SMALL)
    image = photograph("coffee", (224, 320))
    with torch.inference_mode():
        found = ours(detector, image)
        told = torchvision_peer(detector, state, SMALL, told=True)(image)
        untold = torchvision_peer(detector, state, SMALL)(image)
    assert len(found.boxes) > 20
    assert same_share(found, told) >= 0.99
    assert same_share(found, untold) < 0.5  # and would not have gone unnoticed


def test_a_backbone_that_a_project_has_no_configuration_of_is_named() -> None:
    with torch.device("meta"):
        deep = Detector(detectron2_config("resnet152"), ("cat",))
    with pytest.raises(ImportRefused, match=r"has a configuration of \(.*\), got resnet152"):
        detectron2_peer(deep, {})
    with pytest.raises(ImportRefused, match=r"has a configuration of \(.*\), got resnet152"):
        mmdetection_peer(deep, {}, None)


@pytest.mark.skipif(find_spec("detectron2") is not None, reason="Detectron2 is installed")
def test_detectron2_that_is_not_installed_costs_one_line() -> None:
    with torch.device("meta"):
        detector = Detector(detectron2_config("resnet50"), ("cat",))
    with pytest.raises(ImportRefused, match="asks Detectron2 itself, which is not installed here"):
        detectron2_peer(detector, {})


@pytest.mark.skipif(find_spec("mmdet") is not None, reason="MMDetection is installed")
def test_mmdetection_that_is_not_installed_costs_one_line() -> None:
    with torch.device("meta"):
        detector = Detector(mmdetection_config("resnet50", STYLES["pytorch"]), ("cat",))
    with pytest.raises(ImportRefused, match="asks MMDetection itself, which is not installed here"):
        mmdetection_peer(detector, {}, None)


@pytest.mark.parametrize("name", ["detectron2-r50-fpn", "mmdetection-r50-fpn"])
@pytest.mark.skipif(not CASES.exists(), reason=f"{CASES} is not there")
def test_where_they_are_installed_they_answer_as_they_did_and_as_we_do(name: str) -> None:
    module = "detectron2" if name.startswith("detectron2") else "mmdet"
    pytest.importorskip(module)
    state = dict(state_dict(CASES / name))
    if module == "detectron2":
        detector = import_detectron2({"model": state}, CLASSES)
        peer = detectron2_peer(detector, state)
    else:
        detector = import_mmdetection({"state_dict": state}, CLASSES, said="pytorch")
        peer = mmdetection_peer(detector, state, None)
    with torch.inference_mode():
        theirs = peer(frame(0))
        assert same_share(theirs, Found(*expected(CASES / name, 0))) >= 0.99
        assert same_share(theirs, ours(detector, frame(0))) >= 0.99
