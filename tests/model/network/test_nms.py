import pytest
import torch
from torch import Tensor
from torchvision.ops import nms

from model.network.nms import nms_keep
from tests.model.small import random_boxes


def by_torchvision(boxes: Tensor, scores: Tensor, threshold: float) -> Tensor:
    keep = torch.zeros(scores.shape, dtype=torch.bool)
    for row in range(scores.shape[0]):
        keep[row, nms(boxes[row], scores[row], threshold)] = True
    return keep


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7])
def test_each_row_is_suppressed_by_itself(threshold: float) -> None:
    boxes = torch.stack([random_boxes(80, (60, 90), seed) for seed in range(3)])
    scores = torch.rand((3, 80), generator=torch.Generator().manual_seed(0))
    keep = nms_keep(boxes, scores, threshold)
    assert torch.equal(keep, by_torchvision(boxes, scores, threshold))
    assert 0 < keep.sum() < keep.numel()


def test_only_an_overlap_above_the_threshold_suppresses() -> None:
    # 10 x 10 boxes; 8 of 10 rows shared: IoU 80 / 120
    boxes = torch.tensor([[[0.0, 0, 10, 10], [0.0, 2, 10, 12]]])
    scores = torch.tensor([[0.9, 0.8]])
    assert nms_keep(boxes, scores, 0.66).tolist() == [[True, False]]
    assert nms_keep(boxes, scores, 0.67).tolist() == [[True, True]]
    # 5 of 10 rows of a box of 10 within one of 20: IoU is exactly one half
    boxes = torch.tensor([[[0.0, 0, 10, 10], [0.0, 0, 10, 5]]])
    assert nms_keep(boxes, scores, 0.5).tolist() == [[True, True]]


def test_what_is_suppressed_suppresses_nothing() -> None:
    # each overlaps its neighbour by 0.6, and the next but one by 1 / 3
    boxes = torch.tensor([[[0.0, 0, 40, 20], [10.0, 0, 50, 20], [20.0, 0, 60, 20]]])
    assert nms_keep(boxes, torch.tensor([[0.9, 0.8, 0.7]]), 0.5).tolist() == [[True, False, True]]


def test_of_equal_scores_the_earlier_box_stays() -> None:
    boxes = torch.tensor([[0.0, 0, 10, 20], [0.0, 0, 10, 19], [50.0, 0, 60, 20]])
    scores = torch.full((2, 3), 0.5)
    keep = nms_keep(torch.stack([boxes, boxes.flip(0)]), scores, 0.5)
    assert keep.tolist() == [[True, False, True], [True, True, False]]


def test_empty_boxes_neither_suppress_nor_are_suppressed() -> None:
    real, empty = [2.0, 2, 12, 22], [5.0, 5, 5, 5]
    boxes = torch.tensor([[empty, real, [0.0, 0, 0, 0], empty]])
    assert nms_keep(boxes, torch.tensor([[0.9, 0.8, 0.7, 0.6]]), 0.1).all()


def test_no_rows_and_no_boxes_are_fine() -> None:
    assert nms_keep(torch.zeros(0, 5, 4), torch.zeros(0, 5), 0.5).shape == (0, 5)
    assert nms_keep(torch.zeros(2, 0, 4), torch.zeros(2, 0), 0.5).shape == (2, 0)


def test_the_operator_keeps_torchs_rules_for_operators() -> None:
    boxes = torch.stack([random_boxes(6, (60, 90), seed) for seed in range(2)])
    scores = torch.rand((2, 6), generator=torch.Generator().manual_seed(0))
    checks = ("test_schema", "test_faketensor")
    torch.library.opcheck(nms_keep, (boxes, scores, 0.5), test_utils=checks)
