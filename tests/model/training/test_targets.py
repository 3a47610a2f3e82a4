import torch

from model.config.detector import RoiConfig, RpnConfig
from model.training.targets import sample_regions
from tests.model.small import random_boxes
from tests.model.training.candidates import (
    ANCHORS,
    EVERYTHING,
    NOTHING,
    generators,
    predictions,
    proposal_losses,
    proposals,
)


def test_an_anchor_on_a_box_is_the_only_positive_by_hand() -> None:
    # the anchor of 8 x 8 on (24, 12) is the box itself; all others overlap it by less than 0.7
    box = torch.tensor([[20.0, 8, 28, 16]])
    place = (3 * 14 + 6) * 3 + 1
    assert torch.equal(ANCHORS[0][place], box[0])
    levels = predictions(1)
    objectness, regression = proposal_losses(levels, [box], EVERYTHING)
    [at_logits, at_deltas] = torch.autograd.grad(
        regression, [levels[0].logits, levels[0].deltas], allow_unused=True
    )
    assert at_logits is None
    assert at_deltas.abs().sum(dim=-1).nonzero().tolist() == [[0, place]]
    assert objectness > 0


def test_as_many_anchors_of_an_image_count_as_configured() -> None:
    levels = predictions(2)
    boxes = [random_boxes(3, (32, 56), 0, 6), NOTHING]
    config = RpnConfig(batch_per_image=64)
    objectness, _ = proposal_losses(levels, boxes, config)
    torch.autograd.backward(objectness)
    touched = [level.logits.grad for level in levels]
    assert [sum(int(g[n].count_nonzero()) for g in touched if g is not None) for n in (0, 1)] == [
        64
    ] * 2


def test_anchors_outside_the_image_count() -> None:
    levels = predictions(1)
    objectness, _ = proposal_losses(levels, [NOTHING], EVERYTHING)
    torch.autograd.backward(objectness)
    assert all(level.logits.grad is not None and level.logits.grad.all() for level in levels)


BOX = [10.0, 10.0, 30.0, 50.0]  # 20 x 40
HALF = [10.0, 10.0, 30.0, 30.0]  # IoU exactly one half with BOX
LESS = [10.0, 10.0, 30.0, 29.0]
AWAY = [60.0, 10.0, 80.0, 30.0]


def test_regions_by_hand() -> None:
    given = proposals(torch.tensor([HALF, LESS, AWAY]), torch.tensor([AWAY]))
    gt_boxes, gt_labels = [torch.tensor([BOX]), NOTHING], [torch.tensor([4]), torch.zeros(0).long()]
    config = RoiConfig(batch_per_image=100, positive_fraction=1.0)
    regions = sample_regions(given, gt_boxes, gt_labels, 7, config, generators(len(gt_boxes)))
    assert regions.boxes.tolist() == [HALF, BOX, LESS, AWAY, AWAY]  # ground truth joins
    assert regions.labels.tolist() == [4, 4, 7, 7, 7]
    assert regions.images.tolist() == [0, 0, 0, 0, 1]
    assert regions.gt_boxes[:2].tolist() == [BOX, BOX]


def test_a_region_answers_for_the_box_that_it_overlaps_most() -> None:
    gt_boxes, gt_labels = torch.tensor([AWAY, BOX]), torch.tensor([1, 5])
    config = RoiConfig(batch_per_image=100, positive_fraction=1.0)
    given = proposals(torch.tensor([HALF]))
    regions = sample_regions(given, [gt_boxes], [gt_labels], 7, config, generators(1))
    assert regions.labels.tolist() == [5, 1, 5]
    assert regions.gt_boxes.tolist() == [BOX, AWAY, BOX]


def test_a_quarter_of_the_regions_of_an_image_at_most_are_foreground() -> None:
    crowd = torch.tensor([BOX] * 50 + [AWAY] * 50)
    gt_boxes, gt_labels = [torch.tensor([BOX])] * 2, [torch.tensor([0])] * 2
    config = RoiConfig(batch_per_image=40)
    given = proposals(crowd, crowd)
    regions = sample_regions(given, gt_boxes, gt_labels, 3, config, generators(len(gt_boxes)))
    for n in range(2):
        labels = regions.labels[regions.images == n]
        assert (len(labels), int((labels == 0).sum())) == (40, 10)


def test_the_same_generator_state_draws_the_same_samples() -> None:
    boxes, levels = [random_boxes(3, (32, 56), 0, 6)], predictions(1)
    config = RpnConfig(batch_per_image=32)
    first = proposal_losses(levels, boxes, config, seed=5)
    assert proposal_losses(levels, boxes, config, seed=5) == first
    assert proposal_losses(levels, boxes, config, seed=6) != first
