"""Which ground truth each anchor or proposal answers for.

Source: section 4.1 of the FPN paper (anchors: positive with IoU over 0.7 or as a box's best, negative under 0.3 with
all) and Fast R-CNN (proposals: 0.5). Only overlap decides; a box's scale plays no part in choosing its level.

Legend
    M   candidates (anchors or proposals)       G   ground-truth boxes of the image
"""

from typing import NamedTuple

import torch
from torch import Tensor

POSITIVE, NEGATIVE, IGNORED = 1, 0, -1


class Matches(NamedTuple):
    """`gt` int64 [M]: the box that each overlaps most (0 where there is none); `kinds` int64 [M]: see constants."""

    gt: Tensor
    kinds: Tensor


def match(iou: Tensor, foreground: float, background: float, *, keep_best: bool) -> Matches:
    """Matches of M candidates by their overlap `iou` [M, G].

    At least `foreground` is positive, less than `background` negative, between them ignored. With `keep_best`, the
    candidates that overlap a box most (all of them, if equal) are positive however little that is, so that no
    box goes without. Such a candidate still answers for the box that *it* overlaps most, as in Detectron2.
    """
    candidates, boxes = iou.shape
    if boxes == 0:
        nothing = torch.zeros(candidates, dtype=torch.int64, device=iou.device)
        return Matches(nothing, torch.full_like(nothing, NEGATIVE))
    best, gt = iou.max(dim=1)
    kinds = torch.full_like(gt, IGNORED)
    kinds[best < background] = NEGATIVE
    kinds[best >= foreground] = POSITIVE
    if keep_best:
        best_of_box = iou.amax(dim=0)
        is_best = (iou == best_of_box) & (best_of_box > 0)
        kinds[is_best.any(dim=1)] = POSITIVE
    return Matches(gt, kinds)
