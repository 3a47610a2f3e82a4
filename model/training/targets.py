"""Which anchors and regions a step learns from, and what they should say.

Source: sections 4.1, 4.2 and 5 of the FPN paper. Candidates are matched to ground truth (matching.py) and drawn
(sampling.py), image by image; those of all images stand one after the other.

Legend
    N   images in the batch     G   ground-truth boxes of an image
    M   anchors of an image     S   anchors or regions sampled for a stage, all images together
    C   foreground classes; background is label C
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from model.config.detector import RoiConfig, RpnConfig
from model.network.boxes import box_iou
from model.network.proposals import Proposals
from model.training.matching import match
from model.training.sampling import sample


class AnchorSample(NamedTuple):
    """Sampled anchors: boxes [S, 4], images int64 [S], places int64 [S] among M, labels int64 [S], gt_boxes [S, 4].

    A label is 1 for an object, 0 for none; an anchor without one has itself as its gt box.
    """

    boxes: Tensor
    images: Tensor
    places: Tensor
    labels: Tensor
    gt_boxes: Tensor


class RegionSample(NamedTuple):
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
    """The anchors that the proposal head learns from.

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


def sample_regions(
    proposals: Proposals,
    gt_boxes: list[Tensor],
    gt_labels: list[Tensor],
    background: int,
    config: RoiConfig,
    generators: Sequence[torch.Generator],
) -> RegionSample:
    """The regions that the region head learns from; ground truth joins the proposals.

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
            RegionSample(
                candidates[chosen],
                torch.full_like(chosen, image),
                torch.cat(
                    [_rows(labels, matches.gt[positive]), torch.full_like(negative, background)]
                ),
                torch.cat([_rows(boxes, matches.gt[positive]), candidates[negative]]),
            )
        )
    return RegionSample(*(torch.cat(column) for column in zip(*parts, strict=True)))


def _rows(table: Tensor, indices: Tensor) -> Tensor:
    """`table[indices]`, and nothing of an empty table (an image without boxes has no positives)."""
    return table[indices] if table.shape[0] else table
