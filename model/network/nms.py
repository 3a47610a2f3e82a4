"""Greedy non-maximum suppression of many independent rows of boxes, as one operator.

Source: Faster R-CNN (Ren et al. 2015), section 3.3 (proposals), and Fast R-CNN (Girshick 2015), section 3.1 (each
class by itself), to which the FPN paper leaves it.

A row is what competes with itself: one image's boxes of one pyramid level, or one image's detections with their
classes moved apart. The operator `fpn::nms` runs torchvision's NMS row by row here and becomes one batched ONNX
NonMaxSuppression node in export/, whose rule is the same: a box goes when its IoU with a better kept one is
strictly above the threshold; of equal scores the earlier box is better.

Legend
    B   rows
    K   boxes a row
"""

import torch
from torch import Tensor
from torchvision.ops import nms


@torch.library.custom_op("fpn::nms", mutates_args=())
def nms_keep(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """True [B, K] where a box survives.

    Args:
        boxes: float32 [B, K, 4] xyxy. Empty boxes neither suppress nor are suppressed.
        scores: float32 [B, K].
        iou_threshold: 0..1.
    """
    keep = torch.zeros(scores.shape, dtype=torch.bool, device=scores.device)
    for row_boxes, row_scores, row_keep in zip(boxes, scores, keep, strict=True):
        row_keep[nms(row_boxes, row_scores, iou_threshold)] = True
    return keep


@nms_keep.register_fake
def _(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    return torch.empty_like(scores, dtype=torch.bool)
