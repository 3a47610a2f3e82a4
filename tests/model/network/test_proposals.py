import math

import pytest
import torch
from torch import Tensor
from torchvision.ops import box_iou

from model.config.detector import RpnConfig
from model.network.anchors import AnchorGrid, cell_anchors
from model.network.proposals import (
    NOTHING,
    LevelProposals,
    best_of_all_levels,
    places_by_level,
    propose,
    stacked,
    used_by_level,
)
from model.network.rpn import LevelPredictions
from tests.model.network.predictions import GRIDS, RATIOS, at


def test_a_batch_of_given_boxes_is_padded_and_says_what_is_real() -> None:
    boxes = [torch.rand(3, 4), torch.rand(0, 4), torch.rand(2, 4)]
    proposals = stacked(boxes)
    assert proposals.boxes.shape == (3, 3, 4)
    assert proposals.valid.sum(dim=1).tolist() == [3, 0, 2]
    for row, each in enumerate(boxes):
        assert torch.equal(proposals.boxes[row][proposals.valid[row]], each)


def test_a_batch_without_any_given_box_has_one_that_is_not_real() -> None:
    proposals = stacked([torch.zeros(0, 4), torch.zeros(0, 4)])
    assert proposals.boxes.shape == (2, 1, 4)
    assert not proposals.valid.any()


SIZES = torch.tensor([[32, 56], [27, 40], [32, 30]])

ANCHORS = [
    AnchorGrid(cell_anchors((size,), RATIOS), *grid)
    for size, grid in zip((8.0, 16.0), GRIDS, strict=True)
]

CONFIG = RpnConfig(nms_iou=0.7, min_size=1e-3)


def random_predictions(images: int = 3, seed: int = 0) -> list[LevelPredictions]:
    generator = torch.Generator().manual_seed(seed)
    return [
        LevelPredictions(
            torch.randn((images, grid.count), generator=generator),
            0.3 * torch.randn((images, grid.count, 4), generator=generator),
        )
        for grid in ANCHORS
    ]


def planted(
    boxes: dict[tuple[int, int], float], shifts: dict[int, list[float]] | None = None
) -> list[LevelPredictions]:
    """One image with the given logits at (level, anchor), all else far below; deltas of level 0."""
    logits = [torch.full((1, grid.count), -50.0) for grid in ANCHORS]
    deltas = [torch.zeros(1, grid.count, 4) for grid in ANCHORS]
    for (level, index), logit in boxes.items():
        logits[level][0, index] = logit
    for index, shift in (shifts or {}).items():
        deltas[0][0, index] = torch.tensor(shift)
    return [LevelPredictions(*level) for level in zip(logits, deltas, strict=True)]


def test_a_planted_prediction_comes_out_at_its_place() -> None:
    place = at(5, 11, 1)  # the 8 x 8 anchor centred on (44, 20)
    shift = [0.5, -0.25, math.log(1.5), 0.0]
    found = propose(planted({(0, place): 9.0}, {place: shift}), ANCHORS, SIZES[:1], CONFIG, 4)
    torch.testing.assert_close(found.boxes[0, 0, 0], torch.tensor([42.0, 14, 54, 22]))
    assert found.logits[0, 0, 0] == 9
    assert bool(found.valid[0, 0, 0])


def test_every_level_gives_a_fixed_count_and_fills_up_what_it_lacks() -> None:
    cells = ANCHORS[1].count  # 84; level 0 has 336
    found = propose(random_predictions(), ANCHORS, SIZES, CONFIG, 100)
    assert found.boxes.shape == (3, 2, 100, 4)
    assert found.logits.shape == found.valid.shape == (3, 2, 100)
    assert not found.valid[:, 1, cells:].any()
    assert bool(found.valid[:, 0].any())
    assert torch.equal(found.valid, found.logits > NOTHING)


def test_only_the_best_of_a_level_are_candidates() -> None:
    predictions = random_predictions()
    found = propose(predictions, ANCHORS, SIZES, CONFIG, 10)
    for level, each in enumerate(predictions):
        best = each.logits.topk(10, dim=1).values
        assert all(
            set(found.logits[n, level][found.valid[n, level]].tolist()) <= set(best[n].tolist())
            for n in range(3)
        )
        assert torch.equal(found.logits[:, level, 0], best[:, 0])


def test_proposals_are_clipped_to_the_content_of_their_image() -> None:
    found = propose(random_predictions(), ANCHORS, SIZES, CONFIG, 80)
    for boxes, valid, (height, width) in zip(found.boxes, found.valid, SIZES, strict=True):
        real = boxes[valid]
        assert real.min() == 0
        assert real[:, 2].max() == width
        assert real[:, 3].max() == height
        assert ((real[:, 2:] - real[:, :2]) >= CONFIG.min_size).all()


def test_a_proposal_outside_the_content_is_none() -> None:
    places = {(0, at(7, 13, 1)): 9.0, (0, at(2, 2, 1)): 8.0}  # centred on (52, 28) and (8, 8)
    found = propose(planted(places), ANCHORS, torch.tensor([[20, 30]]), CONFIG, 2)
    assert found.valid[0, 0].tolist() == [False, True]
    assert not found.boxes[0, 0, 0].any()


def test_levels_do_not_suppress_one_another() -> None:
    # the anchors of 8 and 16 pixels on (16, 16); the larger is shrunk onto the smaller
    predictions = planted({(0, at(4, 4, 1)): 5.0, (0, at(4, 4, 0)): 4.0, (1, at(2, 2, 1, 7)): 3.0})
    predictions[1].deltas[0, at(2, 2, 1, 7), 2:] = math.log(0.5)
    found = propose(predictions, ANCHORS, SIZES[:1], RpnConfig(nms_iou=0.5), 2)
    assert torch.equal(found.boxes[0, 0, 0], found.boxes[0, 1, 0])
    assert found.valid[0].tolist() == [[True, False], [True, True]]


def test_what_survives_on_a_level_does_not_overlap_and_the_rest_does() -> None:
    found = propose(random_predictions(), ANCHORS, SIZES, CONFIG, 80)
    for image in range(3):
        for level in range(2):
            kept = found.boxes[image, level][found.valid[image, level]]
            overlaps = box_iou(kept, kept).fill_diagonal_(0)
            assert overlaps.max() <= CONFIG.nms_iou


def test_a_batch_is_its_images_one_by_one() -> None:
    predictions = random_predictions()
    together = best_of_all_levels(propose(predictions, ANCHORS, SIZES, CONFIG, 50), 40)
    for n in range(3):
        alone = [LevelPredictions(p.logits[n : n + 1], p.deltas[n : n + 1]) for p in predictions]
        single = best_of_all_levels(propose(alone, ANCHORS, SIZES[n : n + 1], CONFIG, 50), 40)
        for one, of_many in zip(single, together, strict=True):
            assert torch.equal(one[0], of_many[n])


def by_hand() -> LevelProposals:
    """Two levels of three: logits 5, -, 1 and 4, 3, 2, of boxes that tell where they stood."""
    logits = torch.tensor([[[5.0, NOTHING, 1.0], [4.0, 3.0, 2.0]]])
    boxes = torch.arange(24.0).reshape(1, 2, 3, 4)
    return LevelProposals(boxes, logits, logits > NOTHING)


def test_the_best_of_all_levels_are_the_best_whatever_their_level() -> None:
    best = best_of_all_levels(by_hand(), 3)
    assert best.logits.tolist() == [[5, 4, 3]]
    assert best.order.tolist() == [[0, 3, 4]]
    assert best.boxes[0, :, 0].tolist() == [0, 12, 16]
    assert best.valid.all()


@pytest.mark.parametrize("count", [6, 1000])
def test_asking_for_more_proposals_than_there_are_gives_them_all(count: int) -> None:
    best = best_of_all_levels(by_hand(), count)
    assert best.logits.tolist() == [[5, 4, 3, 2, 1, NOTHING]]
    assert best.valid.tolist() == [[True] * 5 + [False]]


def test_the_used_proposals_of_a_level_are_exactly_its_share() -> None:
    used = used_by_level(best_of_all_levels(by_hand(), 4), 2, 3)
    assert used.logits.tolist() == [[[5, NOTHING, NOTHING], [4, 3, 2]]]
    assert used.valid.tolist() == [[[True, False, False], [True] * 3]]
    assert used.boxes[0, :, :, 0].tolist() == [[0, 0, 0], [12, 16, 20]]
    fewer = used_by_level(best_of_all_levels(by_hand(), 2), 2, 3)
    assert fewer.logits.tolist() == [[[5, NOTHING], [4, NOTHING]]]


def test_a_proposals_place_is_where_its_level_reports_it() -> None:
    best = best_of_all_levels(by_hand(), 6)
    places, used = places_by_level(best, 2, 3), used_by_level(best, 2, 3)
    assert places[0, :5].tolist() == [[0, 0], [1, 0], [1, 1], [1, 2], [0, 1]]
    for r in range(5):
        level, index = places[0, r]
        assert torch.equal(used.boxes[0, level, index], best.boxes[0, r])
        assert used.logits[0, level, index] == best.logits[0, r]


def used_set(boxes: Tensor, valid: Tensor) -> set[tuple[float, ...]]:
    return {tuple(box) for box in boxes[valid].tolist()}


def test_the_used_proposals_of_all_levels_together_are_those_that_feed_the_second_stage() -> None:
    by_level = propose(random_predictions(), ANCHORS, SIZES, CONFIG, 50)
    best = best_of_all_levels(by_level, 30)
    used = used_by_level(best, 2, 50)
    assert used.boxes.shape == (3, 2, 30, 4)
    for n in range(3):
        assert used_set(used.boxes[n], used.valid[n]) == used_set(best.boxes[n], best.valid[n])
        assert used.valid[n].sum() == 30
        for level in range(2):
            logits = used.logits[n, level].tolist()
            assert logits == sorted(logits, reverse=True)
