"""The choice of proposals (section 4.1 of the FPN paper).

Level by level: the best K by objectness, decoded, clipped to the image's content, suppressed among themselves; then the
best R of all levels together feed the second stage. Everything is a fixed count with a mask, so that a batch is no
different from its images one by one.

Legend
    N   images            L   levels             A   anchors a cell
    H W cells of a level  K   candidates a level  R   proposals an image
    logits   objectness before the sigmoid        deltas   see boxes.py
    valid    True for what is real, False for what only fills the fixed count
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from model.config.detector import RpnConfig
from model.network.anchors import AnchorGrid, anchors_at
from model.network.boxes import at_least, clip_boxes, decode_boxes
from model.network.nms import nms_keep
from model.network.rpn import BOX_WEIGHTS, LevelPredictions

# The score of what is not there.
NOTHING = float("-inf")


class LevelProposals(NamedTuple):
    """Proposals kept apart by level, best first: boxes [N, L, K, 4], logits [N, L, K], valid [N, L, K]."""

    boxes: Tensor
    logits: Tensor
    valid: Tensor


class Proposals(NamedTuple):
    """The proposals that feed the second stage, best first: boxes [N, R, 4], logits [N, R], valid [N, R].

    order int64 [N, R] says where each stands among the image's L*K of all levels.
    """

    boxes: Tensor
    logits: Tensor
    valid: Tensor
    order: Tensor


class _Candidates(NamedTuple):
    """A level's best, best first: logits [N, K], places int64 [N, K] among its anchors, deltas [N, K, 4]."""

    logits: Tensor
    places: Tensor
    deltas: Tensor


def propose(
    predictions: list[LevelPredictions],
    anchors: list[AnchorGrid],
    sizes: Tensor,
    config: RpnConfig,
    pre_nms: int,
) -> LevelProposals:
    """What survives non-maximum suppression on each level, by itself (K = `pre_nms`).

    Args:
        predictions: of L levels.
        anchors: of each level.
        sizes: int64 [N, 2], (height, width) of the images' content; boxes are clipped to it.
        config: thresholds.
        pre_nms: candidates a level.
    """
    levels = [
        _candidates(level, grid.count, pre_nms)
        for level, grid in zip(predictions, anchors, strict=True)
    ]
    logits = torch.stack([level.logits for level in levels], dim=1)  # (N, L, K)
    places = torch.stack([level.places for level in levels], dim=1)  # (N, L, K)
    deltas = torch.stack([level.deltas for level in levels], dim=1)  # (N, L, K, 4)
    boxes = decode_boxes(anchors_at(anchors, places), deltas, BOX_WEIGHTS)
    boxes = clip_boxes(boxes.flatten(1, 2), sizes).reshape(boxes.shape)
    valid = (logits > NOTHING) & at_least(boxes, config.min_size)
    if config.score_threshold > 0:
        valid = valid & (logits.sigmoid() >= config.score_threshold)
    # an empty box neither suppresses nor is suppressed
    boxes = boxes.masked_fill(~valid[..., None], 0.0)
    logits = logits.masked_fill(~valid, NOTHING)
    # (N, L, K) -> (N*L, K) and back: image and level together are the operator's rows
    keep = nms_keep(boxes.flatten(0, 1), logits.flatten(0, 1), config.nms_iou)
    valid = valid & keep.reshape(valid.shape)
    return LevelProposals(boxes, logits.masked_fill(~valid, NOTHING), valid)


def best_of_all_levels(proposals: LevelProposals, count: int) -> Proposals:
    """The best `count` proposals of an image, whatever their level: R = min(count, L*K)."""
    logits = proposals.logits.flatten(1)  # (N, L, K) -> (N, L*K)
    logits, order = logits.topk(min(count, logits.shape[1]), dim=1)  # (N, R)
    boxes = proposals.boxes.flatten(1, 2).gather(1, order[..., None].expand(-1, -1, 4))
    return Proposals(boxes, logits, logits > NOTHING, order)


def places_by_level(used: Proposals, levels: int, candidates: int) -> Tensor:
    """Where each of `used` stands in its level: int64 [N, R, 2], the level's place among L and the rank among its own.

    Args:
        used: best first.
        levels: L.
        candidates: K, of a level.
    """
    level = torch.div(used.order, candidates, rounding_mode="floor")
    of_level = level[..., None] == torch.arange(levels, device=level.device)  # (N, R, L)
    counted = (of_level & used.valid[..., None]).to(torch.int64).cumsum(dim=1)
    rank = counted.gather(2, level[..., None])[..., 0] - 1
    return torch.stack([level, rank.clamp(min=0)], dim=-1)


def used_by_level(used: Proposals, levels: int, candidates: int) -> LevelProposals:
    """Each level's share of `used`, best first: boxes [N, L, K', 4] and so on, with K' = min(K, R).

    Proposal r of `used` stands where `places_by_level` of the same arguments says.
    """
    N, R = used.logits.shape
    count = min(candidates, R)
    level, rank = places_by_level(used, levels, candidates).unbind(-1)
    # what is not real goes to a place past the last, which is cut off
    slot = torch.where(used.valid, level * count + rank, levels * count)  # (N, R)
    logits = used.logits.new_full((N, levels * count + 1), NOTHING).scatter(1, slot, used.logits)
    boxes = used.boxes.new_zeros((N, levels * count + 1, 4))
    boxes = boxes.scatter(1, slot[..., None].expand(-1, -1, 4), used.boxes)
    # (N, L*K' + 1) -> (N, L, K')
    logits = torch.unflatten(logits[:, :-1], 1, (levels, count))
    return LevelProposals(
        torch.unflatten(boxes[:, :-1], 1, (levels, count)), logits, logits > NOTHING
    )


def _candidates(level: LevelPredictions, anchors: int, count: int) -> _Candidates:
    """The best by objectness of as many `anchors`, K = `count`; a level with fewer is filled up."""
    filler = level.logits.new_full((level.logits.shape[0], count), NOTHING)
    logits, places = torch.cat([level.logits, filler], dim=1).topk(count, dim=1)
    places = places.clamp(max=anchors - 1)
    deltas = level.deltas.gather(1, places[..., None].expand(-1, -1, 4))
    return _Candidates(logits, places, deltas)


def stacked(boxes: Sequence[Tensor]) -> Proposals:
    """Given boxes, [P, 4] of each of N images, as the proposals of a batch: R is the largest P, and at least 1."""
    counts = torch.tensor([len(each) for each in boxes], device=boxes[0].device)
    one_more = boxes[0].new_zeros(1, 4)
    padded = pad_sequence([*boxes, one_more], batch_first=True)[:-1]  # (N, R, 4)
    N, R, _ = padded.shape
    order = torch.arange(R, device=padded.device).expand(N, R)
    valid = order < counts[:, None]
    logits = torch.zeros_like(padded[..., 0]).masked_fill(~valid, NOTHING)
    return Proposals(padded, logits, valid, order)
