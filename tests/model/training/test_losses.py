import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import box_iou

from model.config.detector import RoiConfig, RpnConfig
from model.network.anchors import AnchorGrid, cell_anchors
from model.network.boxes import encode_boxes
from model.network.proposals import Proposals
from model.network.roi import RoiPredictions
from model.network.rpn import LevelPredictions
from model.training.losses import Losses, roi_losses, rpn_losses
from model.training.targets import RegionSample, sample_anchors, sample_regions
from tests.model.small import random_boxes

UNIT = (1.0, 1.0, 1.0, 1.0)
GRIDS = ((8, 14, (4, 4)), (4, 7, (8, 8)))
ANCHORS = [
    AnchorGrid(cell_anchors((size,), (0.5, 1.0, 2.0)), *grid).all()
    for size, grid in zip((8.0, 16.0), GRIDS, strict=True)
]
EVERYTHING = RpnConfig(batch_per_image=100_000)  # takes every positive and negative: no chance
NOTHING = torch.zeros(0, 4)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def generators(count: int, seed: int = 0) -> list[torch.Generator]:
    return [generator(seed + number) for number in range(count)]


def predictions(images: int) -> list[LevelPredictions]:
    return [
        LevelPredictions(
            torch.randn((images, len(anchors)), generator=generator()).requires_grad_(),
            torch.randn((images, len(anchors), 4), generator=generator()).requires_grad_(),
        )
        for anchors in ANCHORS
    ]


def proposal_losses(
    levels: list[LevelPredictions], boxes: list[Tensor], config: RpnConfig, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """The losses over the anchors that `seed` draws, of predictions for all."""
    chosen = sample_anchors(torch.cat(ANCHORS), boxes, config, generators(len(boxes), 10 * seed))
    logits = torch.cat([level.logits for level in levels], dim=1)[chosen.images, chosen.places]
    deltas = torch.cat([level.deltas for level in levels], dim=1)[chosen.images, chosen.places]
    return rpn_losses(LevelPredictions(logits, deltas), chosen, len(boxes), config)


def smooth_l1(difference: Tensor, beta: float) -> Tensor:
    size = difference.abs()
    return torch.where(size < beta, 0.5 * size**2 / beta, size - 0.5 * beta).sum()


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


def assigned(boxes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """By the paper's words, anchor by anchor: positive, negative, and the box of each."""
    anchors = torch.cat(ANCHORS)
    iou = box_iou(anchors, boxes)
    best = iou.max(dim=1).values
    positive = (best >= 0.7) | ((iou == iou.max(dim=0).values) & (iou > 0)).any(dim=1)
    return positive, (best < 0.3) & ~positive, boxes[iou.argmax(dim=1)]


def test_the_proposal_losses_are_those_of_faster_rcnn_equation_1() -> None:
    boxes = [random_boxes(3, (32, 56), 0, 6), random_boxes(2, (32, 56), 1, 6)]
    levels, anchors = predictions(2), torch.cat(ANCHORS)
    logits = torch.cat([level.logits for level in levels], dim=1)
    deltas = torch.cat([level.deltas for level in levels], dim=1)
    cross_entropy, regression = torch.zeros(()), torch.zeros(())
    for n in range(2):
        positive, negative, matched = assigned(boxes[n])
        count = int(positive.sum() + negative.sum())
        of_image = F.softplus(-logits[n][positive]).sum() + F.softplus(logits[n][negative]).sum()
        cross_entropy += of_image / count
        targets = encode_boxes(anchors[positive], matched[positive], UNIT)
        regression += smooth_l1(deltas[n][positive] - targets, 1 / 9) / count
    got = proposal_losses(levels, boxes, EVERYTHING)
    torch.testing.assert_close(got, (cross_entropy / 2, regression / 2))


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


def test_images_without_boxes_have_a_finite_loss_and_no_box_term() -> None:
    levels = predictions(2)
    objectness, regression = proposal_losses(levels, [NOTHING] * 2, EVERYTHING)
    logits = torch.cat([level.logits for level in levels], dim=1)
    torch.testing.assert_close(objectness, F.softplus(logits).mean())
    assert regression.item() == 0


def proposals(*images: Tensor) -> Proposals:
    """Proposals of each image, filled up to a common count with what is not valid."""
    count = max(len(each) for each in images) + 2
    boxes, valid = (
        torch.zeros(len(images), count, 4),
        torch.zeros(len(images), count, dtype=torch.bool),
    )
    for n, each in enumerate(images):
        boxes[n, : len(each)], valid[n, : len(each)] = each, True
    order = torch.arange(count).expand(len(images), count)
    return Proposals(boxes, torch.zeros(len(images), count), valid, order)


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


def test_the_box_and_class_losses_are_those_of_fast_rcnn() -> None:
    boxes, gt_boxes = random_boxes(6, (60, 90), 0, 5), random_boxes(6, (60, 90), 1, 5)
    labels = torch.tensor([2, 3, 0, 3, 1, 3])  # 3 is background
    logits, deltas = torch.randn(6, 4).requires_grad_(), torch.randn(6, 3, 4).requires_grad_()
    regions = RegionSample(boxes, torch.zeros(6).long(), labels, gt_boxes)
    got = roi_losses(RoiPredictions(logits, deltas), regions, 1, RoiConfig())
    chosen = logits[range(6), labels]
    regression = torch.zeros(())
    for n in (0, 2, 4):
        targets = encode_boxes(boxes[n], gt_boxes[n], (10, 10, 5, 5))
        regression += smooth_l1(deltas[n, labels[n]] - targets, 1 / 9)
    torch.testing.assert_close(got, ((logits.logsumexp(dim=1) - chosen).mean(), regression / 6))
    torch.autograd.backward(list(got))
    assert deltas.grad is not None
    touched = deltas.grad.abs().sum(dim=-1).nonzero().tolist()
    assert touched == [[0, 2], [2, 0], [4, 1]]  # the box's own class alone


def test_without_foreground_there_is_no_box_loss() -> None:
    boxes, labels = random_boxes(4, (60, 90), 0), torch.full((4,), 3)
    predicted = RoiPredictions(torch.zeros(4, 4), torch.randn(4, 3, 4))
    regions = RegionSample(boxes, torch.zeros(4).long(), labels, boxes)
    classification, regression = roi_losses(predicted, regions, 1, RoiConfig())
    assert classification.item() == pytest.approx(math.log(4))
    assert regression.item() == 0


def test_without_regions_the_losses_are_zero() -> None:
    none = torch.zeros(0).long()
    regions = sample_regions(proposals(NOTHING), [NOTHING], [none], 3, RoiConfig(), generators(1))
    assert regions.boxes.shape == (0, 4)
    predicted = RoiPredictions(torch.zeros(0, 4), torch.zeros(0, 3, 4))
    assert [each.item() for each in roi_losses(predicted, regions, 1, RoiConfig())] == [0, 0]


def test_every_image_of_the_whole_batch_weighs_the_same_whatever_it_offers() -> None:
    boxes, labels = random_boxes(5, (60, 90), 0), torch.tensor([3, 0, 3, 3, 1])
    predicted = RoiPredictions(torch.randn(5, 4), torch.randn(5, 3, 4))
    regions = RegionSample(
        boxes, torch.tensor([0, 0, 0, 0, 1]), labels, random_boxes(5, (60, 90), 1)
    )
    together = roi_losses(predicted, regions, 2, RoiConfig())
    shares = [
        roi_losses(
            RoiPredictions(predicted.logits[part], predicted.deltas[part]),
            RegionSample(
                boxes[part], torch.zeros_like(labels[part]), labels[part], regions.gt_boxes[part]
            ),
            2,
            RoiConfig(),
        )
        for part in (slice(0, 4), slice(4, 5))
    ]
    for whole, first, second in zip(together, *shares, strict=True):
        torch.testing.assert_close(first + second, whole)


def test_the_total_is_the_sum_of_the_four() -> None:
    assert Losses(*(torch.tensor(2.0**n) for n in range(4))).total().item() == 15


def test_the_same_generator_state_draws_the_same_samples() -> None:
    boxes, levels = [random_boxes(3, (32, 56), 0, 6)], predictions(1)
    config = RpnConfig(batch_per_image=32)
    first = proposal_losses(levels, boxes, config, seed=5)
    assert proposal_losses(levels, boxes, config, seed=5) == first
    assert proposal_losses(levels, boxes, config, seed=6) != first
