"""torchvision's answers and ours, of the same weights on the same resized photographs."""

import pytest
import torch

from model.config.resize import least_frame
from model.importers.published import PUBLISHED
from model.importers.torchvision import import_torchvision
from model.network.detector import Detector
from tests.references import (
    Answers,
    detections,
    matched,
    photograph,
    proposals,
    torchvision_answers,
    torchvision_detector,
)

SIZES = {"coffee": (320, 480), "astronaut": (333, 401), "rocket": (300, 217)}


def compared(ours: Detector, model: str, name: str) -> tuple[Answers, float, float]:
    """torchvision's answers, and how much of its detections and of its proposals are ours."""
    size = SIZES[name]
    image = photograph(name, size)
    expected = torchvision_answers(torchvision_detector(model), image)
    frame = torch.zeros((1, 3, *least_frame([size])), dtype=torch.uint8)
    frame[0, :, : size[0], : size[1]] = image
    with torch.inference_mode():
        answer = ours.detect(frame, torch.tensor([size]))
    assert answer.proposal_counts.min() > 0  # of all levels
    return (
        expected,
        matched(expected.detections, detections(answer)),
        matched(expected.proposals, proposals(answer)),
    )


@pytest.mark.parametrize("model", [PUBLISHED[0], "fasterrcnn_mobilenet_v3_large_320_fpn"])
def test_an_imported_detector_gives_torchvisions_answers(model: str) -> None:
    ours = import_torchvision(torchvision_detector(model).state_dict(), model=model)
    for name in SIZES if model == PUBLISHED[0] else ("astronaut",):
        expected, same_detections, same_proposals = compared(ours, model, name)
        assert len(set(expected.detections.labels.tolist())) > 10
        assert len(expected.detections.boxes) > 24
        assert len(expected.proposals.boxes) > 100
        assert same_detections >= 0.99
        assert same_proposals >= 0.99
