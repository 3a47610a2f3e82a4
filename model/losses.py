"""Targets and losses of both stages.

Source: Faster R-CNN (Ren et al. 2015), equation 1, on every pyramid level at once (section 4.1 of the FPN paper), and
Fast R-CNN (Girshick 2015), equations 1 to 3. An image's classification terms are means over its sampled candidates; its
box terms are smooth L1 sums over the positives, divided by the same number. A batch's are the means of its images',
so they are the sums of its shares', however it is divided among processes.

Legend
    N   images in the batch     G   ground-truth boxes of an image
    M   anchors of an image     S   anchors or regions sampled for a stage, all images together
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from model.boxes import box_iou, encode_boxes
from model.config import RoiConfig, RpnConfig, StageName
from model.matching import match
from model.roi import RoiPredictions
from model.rpn import BOX_WEIGHTS, LevelPredictions, Proposals
from model.sampling import sample


class Losses(NamedTuple):
    """The four terms, scalars that are minimised as their sum; None where a stage does without."""

    objectness: Tensor | None = None
    proposal_box: Tensor | None = None
    classification: Tensor | None = None
    box: Tensor | None = None

    def terms(self) -> dict[str, Tensor]:
        """Those that there are, by name."""
        return {name: value for name, value in self._asdict().items() if value is not None}

    def total(self) -> Tensor:
        """What is minimised."""
        return torch.stack(list(self.terms().values())).sum()


# The terms that each stage has.
TERMS: dict[StageName, tuple[str, ...]] = {
    "joint": Losses._fields,
    "rpn": ("objectness", "proposal_box"),
    "fast": ("classification", "box"),
}


class AnchorSample(NamedTuple):
    """Sampled anchors: boxes [S, 4], images int64 [S], places int64 [S] among M, labels int64 [S], gt_boxes [S, 4].

    A label is 1 for an object, 0 for none; an anchor without one has itself as its gt box.
    """

    boxes: Tensor
    images: Tensor
    places: Tensor
    labels: Tensor
    gt_boxes: Tensor


class Regions(NamedTuple):
    """Sampled regions: boxes [S, 4], images int64 [S], labels int64 [S] (C = background), gt_boxes [S, 4]."""

    boxes: Tensor
    images: Tensor
    labels: Tensor
    gt_boxes: Tensor


def sample_anchors(
    anchors: Tensor,
    gt_boxes: list[Tensor],
    config: RpnConfig,
    generators: Sequence[torch.Generator],
) -> AnchorSample:
    """The anchors that the first stage learns from.

    Args:
        anchors: [M, 4], of all levels; those outside the image count too, as the paper has it.
        gt_boxes: [G, 4] of each image.
        config: thresholds and counts.
        generators: draw the samples, one for each image.
    """
    parts = []
    for image, (boxes, generator) in enumerate(zip(gt_boxes, generators, strict=True)):
        matches = match(
            box_iou(anchors, boxes),
            config.foreground_iou,
            config.background_iou,
            keep_best=True,
        )
        positive, negative = sample(
            matches.kinds, config.batch_per_image, config.positive_fraction, generator
        )
        places = torch.cat([positive, negative])
        parts.append(
            AnchorSample(
                anchors[places],
                torch.full_like(places, image),
                places,
                torch.cat([torch.ones_like(positive), torch.zeros_like(negative)]),
                torch.cat([_rows(boxes, matches.gt[positive]), anchors[negative]]),
            )
        )
    return AnchorSample(*(torch.cat(column) for column in zip(*parts, strict=True)))


def rpn_losses(
    predictions: LevelPredictions, chosen: AnchorSample, images: int, config: RpnConfig
) -> tuple[Tensor, Tensor]:
    """The objectness and proposal-box losses over the `chosen` anchors, of which the head says `predictions`.

    `images` are those of the whole batch, of which these may be a share.
    """
    weights = _weights(chosen.images, images)
    target = chosen.labels.to(predictions.logits)
    objectness = F.binary_cross_entropy_with_logits(predictions.logits, target, reduction="none")
    positive = torch.nonzero(chosen.labels).squeeze(1)
    targets = encode_boxes(chosen.boxes[positive], chosen.gt_boxes[positive], BOX_WEIGHTS)
    box = _smooth_l1(predictions.deltas[positive], targets, config.box_loss_beta)
    return (objectness * weights).sum(), (box * weights[positive]).sum()


def sample_regions(
    proposals: Proposals,
    gt_boxes: list[Tensor],
    gt_labels: list[Tensor],
    background: int,
    config: RoiConfig,
    generators: Sequence[torch.Generator],
) -> Regions:
    """The regions that the second stage learns from; ground truth joins the proposals.

    Args:
        proposals: of N images, without gradient.
        gt_boxes: [G, 4] of each image.
        gt_labels: [G] of each image.
        background: the label of background, C.
        config: thresholds and counts.
        generators: draw the samples, one for each image.
    """
    parts = []
    for image, (boxes, labels, generator) in enumerate(
        zip(gt_boxes, gt_labels, generators, strict=True)
    ):
        candidates = torch.cat([proposals.boxes[image][proposals.valid[image]], boxes])
        threshold = config.foreground_iou
        matches = match(box_iou(candidates, boxes), threshold, threshold, keep_best=False)
        positive, negative = sample(
            matches.kinds, config.batch_per_image, config.positive_fraction, generator
        )
        chosen = torch.cat([positive, negative])
        parts.append(
            Regions(
                candidates[chosen],
                torch.full_like(chosen, image),
                torch.cat(
                    [_rows(labels, matches.gt[positive]), torch.full_like(negative, background)]
                ),
                torch.cat([_rows(boxes, matches.gt[positive]), candidates[negative]]),
            )
        )
    return Regions(*(torch.cat(column) for column in zip(*parts, strict=True)))


def roi_losses(
    predictions: RoiPredictions, regions: Regions, images: int, config: RoiConfig
) -> tuple[Tensor, Tensor]:
    """The classification and box losses over the sampled `regions`; `images` as in `rpn_losses`."""
    background = predictions.deltas.shape[1]
    weights = _weights(regions.images, images)
    classification = F.cross_entropy(predictions.logits, regions.labels, reduction="none")
    positive = torch.nonzero(regions.labels != background).squeeze(1)
    targets = encode_boxes(regions.boxes[positive], regions.gt_boxes[positive], config.box_weights)
    deltas = predictions.deltas[positive, regions.labels[positive]]
    box = _smooth_l1(deltas, targets, config.box_loss_beta)
    return (classification * weights).sum(), (box * weights[positive]).sum()


def _weights(owners: Tensor, images: int) -> Tensor:
    """What each of S candidates weighs: an image's share of `images`, divided among those that it `owners` [S]."""
    return 1.0 / (owners.bincount()[owners] * images)


def _smooth_l1(pred: Tensor, target: Tensor, beta: float) -> Tensor:
    """Of each box: summed over its four deltas."""
    return F.smooth_l1_loss(pred, target, beta=beta, reduction="none").sum(dim=-1)


def _rows(table: Tensor, indices: Tensor) -> Tensor:
    """`table[indices]`, and nothing of an empty table (an image without boxes has no positives)."""
    return table[indices] if table.shape[0] else table
