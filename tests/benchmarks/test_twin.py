import pytest
import torch

from benchmarks.engine.networks import DEFAULT_FRAME, default_detector
from benchmarks.engine.photographs import photographs
from benchmarks.engine.summary import same_detections
from benchmarks.twin import torchvision_twin
from model.network.detector import Detector
from model.network.frozen_norm import FrozenNormConv2d


@pytest.fixture(scope="module")
def shipped() -> Detector:
    return default_detector()


def test_torchvisions_detector_with_our_weights_finds_what_ours_finds(shipped: Detector) -> None:
    images = torch.from_numpy(photographs(DEFAULT_FRAME)[1:2])
    with torch.inference_mode():
        ours = shipped.detect(images, torch.tensor([DEFAULT_FRAME]))
        [found] = torchvision_twin(shipped)(list(images / 255))
    keys = ("boxes", "labels", "scores")
    theirs = {key: found[key].tolist() for key in keys}
    theirs["labels"] = [label - 1 for label in theirs["labels"]]
    expected = {key: getattr(ours, key)[0].tolist() for key in keys}
    assert same_detections(expected, theirs) == 1


def test_what_is_fixed_in_ours_is_fixed_in_torchvisions(shipped: Detector) -> None:
    convolutions = [
        module for module in shipped.backbone.modules() if isinstance(module, FrozenNormConv2d)
    ]
    trained = sum(module.weight.requires_grad for module in convolutions)
    body = torchvision_twin(shipped).backbone.body
    assert 0 < trained < len(convolutions)
    assert sum(weight.requires_grad for weight in body.parameters()) == trained
