"""From what the second stage says of each proposal to an image's final detections.

Source: section 4.2 of the FPN paper and Fast R-CNN (Girshick 2015), section 3: a softmax over classes and background,
class-specific box refinement, suppression within each class. Pairs of (proposal, class) above the score threshold
compete; the best D that survive are the detections.

Legend
    N   images      R   proposals an image      C   foreground classes
    T   candidate (proposal, class) pairs that enter the suppression
    D   detections an image         E   regions of the caller's own an image
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from model.config.detector import RoiConfig
from model.network.boxes import at_least, clip_boxes, decode_boxes
from model.network.nms import nms_keep


class FinalBoxes(NamedTuple):
    """Detections, best first and zero past `counts`.

    boxes [N, D, 4] float32 xyxy pixels of the frame; scores [N, D] float32; labels [N, D] int64, 0-based; sources
    [N, D] int64, the proposal that each came from; counts [N] int64.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    sources: Tensor
    counts: Tensor


class RefinedRegions(NamedTuple):
    """What given regions hold, in their order; all zero where a region is none.

    boxes [N, E, 4] float32 xyxy pixels of the frame; scores [N, E] float32; labels [N, E] int64, 0-based.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor


def class_probs(logits: Tensor, valid: Tensor) -> Tensor:
    """Foreground probabilities [N, R, C] of `logits` [N, R, C + 1]; zero where a proposal is not `valid` [N, R]."""
    return logits.softmax(dim=-1)[..., :-1] * valid[..., None]


def best_detections(
    proposals: Tensor, probs: Tensor, deltas: Tensor, sizes: Tensor, config: RoiConfig
) -> FinalBoxes:
    """The detections of N images.

    Args:
        proposals: boxes [N, R, 4].
        probs: [N, R, C].
        deltas: [N, R, C, 4], for each class.
        sizes: int64 [N, 2], (height, width) of each image's content.
        config: thresholds and counts.
    """
    num_proposals, num_classes = probs.shape[1], probs.shape[2]
    candidates = min(config.max_candidates, num_proposals * num_classes)
    scores, order = probs.flatten(1).topk(candidates, dim=1)  # (N, R*C) -> (N, T)
    sources = torch.div(order, num_classes, rounding_mode="floor")
    labels = order - sources * num_classes
    references = proposals.gather(1, _each_coordinate(sources))
    chosen_deltas = deltas.flatten(1, 2).gather(1, _each_coordinate(order))
    boxes = clip_boxes(decode_boxes(references, chosen_deltas, config.box_weights), sizes)
    valid = (scores > config.score_threshold) & at_least(boxes, config.min_size)
    # an empty box neither suppresses nor is suppressed
    boxes = boxes.masked_fill(~valid[..., None], 0.0)
    apart = boxes + _class_offsets(labels, boxes, num_classes)
    valid = valid & nms_keep(apart, scores, config.nms_iou)
    return _first(boxes, scores, labels, sources, valid, min(config.max_detections, candidates))


def refined_regions(
    regions: Tensor, probs: Tensor, deltas: Tensor, sizes: Tensor, config: RoiConfig
) -> RefinedRegions:
    """The best class of each of `regions` [N, E, 4], and the region as that class refines it.

    Nothing is suppressed and no threshold applies. `probs` [N, E, C] are zero where a region is none; the rest is as in
    `best_detections`.
    """
    scores, labels = probs.max(dim=-1)
    chosen = deltas.gather(2, labels[..., None, None].expand(-1, -1, 1, 4))[:, :, 0]
    boxes = clip_boxes(decode_boxes(regions, chosen, config.box_weights), sizes)
    real = scores > 0
    return RefinedRegions(boxes * real[..., None], scores, labels * real)


def _class_offsets(labels: Tensor, boxes: Tensor, num_classes: int) -> Tensor:
    """Shifts [N, T, 4] that move each class to a place of its own, so that one suppression serves all classes.

    The places form a square grid rather than a line: at most sqrt(C) frames away, where float32 still
    resolves coordinates finely enough to leave overlaps as they are.
    """
    across = math.ceil(math.sqrt(num_classes))
    row = torch.div(labels, across, rounding_mode="floor")
    place = torch.stack([labels - row * across, row], dim=-1).to(boxes.dtype)  # (N, T, 2)
    # (N,): boxes are clipped, so none is longer
    span = boxes.amax(dim=(1, 2)) + 1.0
    return torch.cat([place, place], dim=-1) * span[:, None, None]


def _first(
    boxes: Tensor, scores: Tensor, labels: Tensor, sources: Tensor, valid: Tensor, count: int
) -> FinalBoxes:
    """The best `count` that are valid."""
    scores, order = (scores * valid).topk(count, dim=1)
    real = scores > 0
    return FinalBoxes(
        boxes.gather(1, _each_coordinate(order)) * real[..., None],
        scores,
        labels.gather(1, order) * real,
        sources.gather(1, order) * real,
        real.sum(dim=1),
    )


def _each_coordinate(order: Tensor) -> Tensor:
    return order[..., None].expand(-1, -1, 4)
