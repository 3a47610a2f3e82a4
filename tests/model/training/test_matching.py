import torch
from torch import Tensor

from model.training.matching import IGNORED, NEGATIVE, POSITIVE, match


def table(*rows: list[float]) -> Tensor:
    return torch.tensor(rows)


def test_overlaps_decide_by_both_thresholds() -> None:
    iou = table([0.7, 0.1], [0.2, 0.95], [0.69, 0.3], [0.3, 0.0], [0.29, 0.1], [0.0, 0.0])
    matches = match(iou, 0.7, 0.3, keep_best=False)
    assert matches.kinds.tolist() == [POSITIVE, POSITIVE, IGNORED, IGNORED, NEGATIVE, NEGATIVE]
    assert matches.gt[:5].tolist() == [0, 1, 0, 0, 0]


def test_one_threshold_leaves_nothing_ignored() -> None:
    matches = match(table([0.5], [0.49]), 0.5, 0.5, keep_best=False)
    assert matches.kinds.tolist() == [POSITIVE, NEGATIVE]


def test_the_best_candidate_of_a_box_is_positive_however_little_it_overlaps() -> None:
    iou = table([0.8, 0.05], [0.1, 0.2], [0.4, 0.1])
    assert match(iou, 0.7, 0.3, keep_best=True).kinds.tolist() == [POSITIVE, POSITIVE, IGNORED]
    assert match(iou, 0.7, 0.3, keep_best=False).kinds.tolist() == [POSITIVE, NEGATIVE, IGNORED]


def test_all_that_tie_for_a_boxs_best_are_positive() -> None:
    iou = table([0.25, 0.0], [0.25, 0.0], [0.24, 0.9])
    assert match(iou, 0.7, 0.3, keep_best=True).kinds.tolist() == [POSITIVE] * 3
    assert match(iou[:, :1], 0.7, 0.3, keep_best=True).kinds.tolist() == [
        POSITIVE,
        POSITIVE,
        NEGATIVE,
    ]


def test_a_boxs_best_answers_for_the_box_that_it_overlaps_most_itself() -> None:
    # the second candidate is the best of box 0 and overlaps box 1 more
    matches = match(table([0.1, 0.9], [0.4, 0.6]), 0.7, 0.3, keep_best=True)
    assert matches.kinds.tolist() == [POSITIVE, POSITIVE]
    assert matches.gt.tolist() == [1, 1]


def test_a_box_that_nothing_overlaps_makes_nothing_positive() -> None:
    matches = match(table([0.0, 0.8], [0.0, 0.1]), 0.7, 0.3, keep_best=True)
    assert matches.kinds.tolist() == [POSITIVE, NEGATIVE]


def test_without_boxes_every_candidate_is_negative() -> None:
    matches = match(torch.zeros(4, 0), 0.7, 0.3, keep_best=True)
    assert matches.kinds.tolist() == [NEGATIVE] * 4
    assert matches.gt.tolist() == [0] * 4


def test_without_candidates_there_are_no_matches() -> None:
    assert match(torch.zeros(0, 0), 0.5, 0.5, keep_best=False).kinds.shape == (0,)
