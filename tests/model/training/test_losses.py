import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import box_iou

from model.config.detector import RoiConfig
from model.network.boxes import encode_boxes
from model.network.roi import RoiPredictions
from model.training.losses import Losses, roi_losses
from model.training.targets import RegionSample, sample_regions
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

UNIT = (1.0, 1.0, 1.0, 1.0)


def smooth_l1(difference: Tensor, beta: float) -> Tensor:
    size = difference.abs()
    return torch.where(size < beta, 0.5 * size**2 / beta, size - 0.5 * beta).sum()


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


def test_images_without_boxes_have_a_finite_loss_and_no_box_term() -> None:
    levels = predictions(2)
    objectness, regression = proposal_losses(levels, [NOTHING] * 2, EVERYTHING)
    logits = torch.cat([level.logits for level in levels], dim=1)
    torch.testing.assert_close(objectness, F.softplus(logits).mean())
    assert regression.item() == 0


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
