"""Imported detectors answer as Detectron2 and MMDetection did, neither of which is installed."""

from pathlib import Path

import pytest
import torch

from model.importers.detectron2 import import_detectron2
from model.importers.mmdetection import import_mmdetection
from model.network.detector import Detector
from tests.golden import CLASSES, FRAMES, expected, frame, state_dict
from tests.places import SHARED
from tests.references import detections, matched

CASES = SHARED / "reference" / "golden"
pytestmark = pytest.mark.skipif(not CASES.exists(), reason=f"{CASES} is not there")
LARGE = (
    "detectron2-x101-fpn",
    "detectron2-r50-c4",
    "detectron2-r50-dc5",
    "mmdetection-r50-fpn-caffe",
)


def imported(case: Path) -> Detector:
    content = {"model": state_dict(case)}
    if case.name.startswith("detectron2"):
        return import_detectron2(content, CLASSES)
    return import_mmdetection(content, CLASSES, said="caffe" if "caffe" in case.name else "pytorch")


def agreement(case: Path, frames: int) -> float:
    """The mean share of boxes that are the same in the first `frames` frames."""
    detector, shares = imported(case), []
    for number, (_, size) in enumerate(FRAMES[:frames]):
        with torch.inference_mode():
            answer = detector.detect(frame(number)[None], torch.tensor([size]))
        theirs = expected(case, number)
        assert len(theirs.boxes) == 100
        assert len(set(theirs.labels.tolist())) > 5
        shares.append(matched(detections(answer), theirs, 2e-3))
    return sum(shares) / len(shares)


@pytest.mark.parametrize("name", ["detectron2-r50-fpn", "mmdetection-r50-fpn"])
def test_the_detections_are_those_of_the_framework_itself(name: str) -> None:
    assert agreement(CASES / name, 4) >= 0.99


@pytest.mark.parametrize("name", LARGE)
def test_the_detections_of_the_larger_cases_are_the_framework_s_own(name: str) -> None:
    assert agreement(CASES / name, 1) >= 0.99


def test_another_stride_or_order_of_pixels_would_be_seen() -> None:
    """What no tensor shows decides the answers: the comparison is of these, too."""
    case = CASES / "mmdetection-r50-fpn"
    wrong = import_mmdetection({"model": state_dict(case)}, CLASSES, said="caffe")
    with torch.inference_mode():
        answer = wrong.detect(frame(0)[None], torch.tensor([FRAMES[0][1]]))
    assert matched(detections(answer), expected(case, 0), 2e-3) < 0.5
