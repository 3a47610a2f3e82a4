"""torchvision's answers and ours, of the same weights on the same resized photographs."""

import pytest
import torch

from model.config.resize import least_frame
from model.importers.torchvision import import_torchvision
from model.network.detector import Detector
from tests.references import (
    detections,
    matched,
    photograph,
    proposals,
    torchvision_answers,
    torchvision_detector,
)


@pytest.fixture(scope="module")
def ours() -> Detector:
    return import_torchvision(torchvision_detector().state_dict())


@pytest.mark.parametrize(
    ("name", "size"), [("coffee", (320, 480)), ("astronaut", (333, 401)), ("rocket", (300, 217))]
)
def test_an_imported_detector_gives_torchvisions_answers(
    ours: Detector, name: str, size: tuple[int, int]
) -> None:
    image = photograph(name, size)
    expected = torchvision_answers(torchvision_detector(), image)
    frame = torch.zeros((1, 3, *least_frame([size])), dtype=torch.uint8)
    frame[0, :, : size[0], : size[1]] = image
    with torch.inference_mode():
        answer = ours.detect(frame, torch.tensor([size]))
    assert len(set(expected.detections.labels.tolist())) > 10
    assert len(expected.detections.boxes) > 24
    assert len(expected.proposals.boxes) > 500
    assert answer.proposal_counts.min() > 0  # of all levels
    assert matched(expected.detections, detections(answer)) >= 0.99
    assert matched(expected.proposals, proposals(answer)) >= 0.99
