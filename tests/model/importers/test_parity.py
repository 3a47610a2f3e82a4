"""torchvision's answers and ours, of the same weights on the same resized photographs: all six of its detectors."""

import pytest
import torch

from model.config.resize import least_frame
from model.importers.published import PUBLISHED
from model.importers.torchvision import import_torchvision
from tests.references import (
    SAME,
    detections,
    matched,
    photograph,
    proposals,
    torchvision_answers,
    torchvision_detector,
    with_proposals,
)

SIZES = {"coffee": (200, 301), "astronaut": (233, 267), "chelsea": (300, 217)}
# Of torchvision's 1000: a head of convolutions takes a second for a hundred.
PROPOSALS = 150


@pytest.mark.parametrize("model", PUBLISHED)
def test_an_imported_detector_gives_torchvisions_answers(model: str) -> None:
    theirs = torchvision_detector(model)
    settings = [f"rpn.post_nms_test={PROPOSALS}"]
    ours = import_torchvision(theirs.state_dict(), settings=settings, model=model)
    found, same_detections, same_proposals, of_levels = 0, [], [], torch.zeros(())
    for name, size in SIZES.items():
        image = photograph(name, size)
        expected = torchvision_answers(with_proposals(theirs, PROPOSALS), image)
        frame = torch.zeros((1, 3, *least_frame([size])), dtype=torch.uint8)
        frame[0, :, : size[0], : size[1]] = image
        with torch.inference_mode():
            answer = ours.detect(frame, torch.tensor([size]))
        found += len(expected.detections.boxes)
        same_detections.append(matched(expected.detections, detections(answer), SAME))
        same_proposals.append(matched(expected.proposals, proposals(answer), SAME))
        of_levels = of_levels + answer.proposal_counts[0]
    assert found > 100
    assert of_levels.min() > 0
    assert sum(same_detections) / len(SIZES) >= 0.99
    assert sum(same_proposals) / len(SIZES) >= 0.99
