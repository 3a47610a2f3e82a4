"""Box arithmetic: pure functions over a trailing axis of four.

Source: the box parameterisation of R-CNN (Girshick et al. 2014, appendix C), as Fast and Faster R-CNN use it.

Legend
    boxes   [..., 4] float32 xyxy pixels, x1 <= x2, y1 <= y2; a box covers [x1, x2) x [y1, y2), so width = x2 - x1
    deltas  [..., 4] float32 (dx, dy, dw, dh): centre shifts in box widths and heights, logarithms of size ratios
    sizes   (height, width)
"""

import math

import torch
from torch import Tensor

# Largest log growth of a side: a stride-16 cell may become at most 1000 pixels (Detectron, FAST_RCNN.BBOX_XFORM_CLIP).
MAX_LOG_RATIO = math.log(1000.0 / 16)


def box_area(boxes: Tensor) -> Tensor:
    """Areas [...] in square pixels of `boxes` [..., 4]."""
    return (boxes[..., 2:] - boxes[..., :2]).prod(dim=-1)


def box_iou(boxes: Tensor, others: Tensor) -> Tensor:
    """Intersection over union [M, K], in 0..1, of `boxes` [M, 4] with `others` [K, 4]; 0 where both are empty."""
    top_left = torch.maximum(boxes[:, None, :2], others[None, :, :2])
    bottom_right = torch.minimum(boxes[:, None, 2:], others[None, :, 2:])
    overlap = (bottom_right - top_left).clamp(min=0).prod(dim=-1)
    union = box_area(boxes)[:, None] + box_area(others)[None, :] - overlap
    return torch.where(union > 0, overlap / union, torch.zeros_like(overlap))


def clip_boxes(boxes: Tensor, sizes: Tensor) -> Tensor:
    """`boxes` [N, M, 4] moved into their images' content, `sizes` int64 [N, 2] as (height, width)."""
    height, width = sizes.to(boxes.dtype)[:, None, :].unbind(-1)  # (N, 1) each
    limits = torch.stack([width, height, width, height], dim=-1)
    return torch.minimum(boxes.clamp(min=0), limits)


def at_least(boxes: Tensor, min_size: float) -> Tensor:
    """True [...] where both sides of `boxes` [..., 4] are at least `min_size` pixels."""
    return (boxes[..., 2:] - boxes[..., :2]).amin(dim=-1) >= min_size


def encode_boxes(
    references: Tensor, targets: Tensor, weights: tuple[float, float, float, float]
) -> Tensor:
    """Deltas [..., 4] that turn `references` into `targets`, times `weights`; `decode_boxes` is the inverse.

    References must have positive sides: anchors and matched proposals do.
    """
    size, target_size = (
        references[..., 2:] - references[..., :2],
        targets[..., 2:] - targets[..., :2],
    )
    centre = references[..., :2] + 0.5 * size
    target_centre = targets[..., :2] + 0.5 * target_size
    deltas = torch.cat([(target_centre - centre) / size, torch.log(target_size / size)], dim=-1)
    return deltas * deltas.new_tensor(weights)


def decode_boxes(
    references: Tensor, deltas: Tensor, weights: tuple[float, float, float, float]
) -> Tensor:
    """Boxes [..., 4] that `deltas` make of `references`; growth is capped at exp(MAX_LOG_RATIO), shrinking is not."""
    deltas = deltas / deltas.new_tensor(weights)
    size = references[..., 2:] - references[..., :2]
    centre = references[..., :2] + 0.5 * size + deltas[..., :2] * size
    half = 0.5 * torch.exp(deltas[..., 2:].clamp(max=MAX_LOG_RATIO)) * size
    return torch.cat([centre - half, centre + half], dim=-1)
