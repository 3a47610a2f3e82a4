"""The region proposal head and the choice of proposals, shared by all pyramid levels (section 4.1 of the FPN paper).

The head is a 3x3 convolution with ReLU and two sibling 1x1 convolutions, one set of weights for P2..P6. Proposals are
taken level by level: the best K by objectness, decoded, clipped to the image's content, suppressed among
themselves; then the best R of all levels together feed the second stage. Everything is a fixed count with
a mask, so that a batch is no different from its images one by one.

Legend
    N   images            L   levels (P2..P6)     A   anchors a cell
    H W cells of a level  K   candidates a level  R   proposals an image
    logits   objectness before the sigmoid        deltas   see boxes.py
    valid    True for what is real, False for what only fills the fixed count
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.anchors import AnchorGrid, anchors_at
from model.boxes import at_least, clip_boxes, decode_boxes
from model.config import RpnConfig
from model.nms import nms_keep

BOX_WEIGHTS = (1.0, 1.0, 1.0, 1.0)
NOTHING = float("-inf")  # the score of what is not there


class LevelPredictions(NamedTuple):
    """What the head says of one level: logits [N, H*W*A] and deltas [N, H*W*A, 4], in anchor order."""

    logits: Tensor
    deltas: Tensor


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


class RpnHead(nn.Module):
    """The shared head: from maps of `in_channels`, its 3x3 convolution makes `channels`.

    Weights start at N(0, 0.01), biases at 0.
    """

    def __init__(self, in_channels: int, channels: int, anchors_per_cell: int) -> None:
        super().__init__()
        self.anchors_per_cell = anchors_per_cell
        self.conv = nn.Conv2d(in_channels, channels, 3, padding=1)
        self.logits = nn.Conv2d(channels, anchors_per_cell, 1)
        self.deltas = nn.Conv2d(channels, anchors_per_cell * 4, 1)
        for layer in (self.conv, self.logits, self.deltas):
            nn.init.normal_(layer.weight, std=0.01)
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)

    def forward(self, pyramid: tuple[Tensor, ...]) -> list[LevelPredictions]:
        """Predictions for each level, finest first."""
        return [self._level(features) for features in pyramid]

    def at(self, neighbourhoods: Tensor, anchors: Tensor) -> LevelPredictions:
        """Predictions for S anchors alone, logits [S] and deltas [S, 4]: `forward`'s, of which the losses need few.

        Args:
            neighbourhoods: [S, 9 * in_channels], what the 3x3 convolution sees at their cells (cells.py).
            anchors: int64 [S], which of its cell's A anchors each is.
        """
        kernel = self.conv.weight.permute(0, 2, 3, 1).flatten(1)  # (d, c, 3, 3) -> (d, 9*c)
        hidden = F.relu(F.linear(neighbourhoods, kernel, self.conv.bias))
        logits = F.linear(hidden, self.logits.weight.flatten(1), self.logits.bias)  # (S, A)
        deltas = F.linear(hidden, self.deltas.weight.flatten(1), self.deltas.bias)  # (S, A*4)
        chosen = torch.arange(anchors.shape[0], device=anchors.device), anchors
        return LevelPredictions(
            logits[chosen].float(), deltas.reshape(logits.shape[0], -1, 4)[chosen].float()
        )

    def _level(self, features: Tensor) -> LevelPredictions:
        hidden = F.relu(self.conv(features))
        logits, deltas = self.logits(hidden), self.deltas(hidden)
        logits = logits.permute(0, 2, 3, 1).flatten(1)  # (N, A, H, W) -> (N, H*W*A)
        # (N, A*4, H, W) -> (N, H, W, A*4) -> (N, H*W*A, 4)
        deltas = deltas.permute(0, 2, 3, 1).reshape(deltas.shape[0], -1, 4)
        return LevelPredictions(logits.float(), deltas.float())


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
    boxes = boxes.masked_fill(
        ~valid[..., None], 0.0
    )  # an empty box neither suppresses nor is suppressed
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


def used_by_level(proposals: LevelProposals, used: Proposals) -> LevelProposals:
    """Each level's share of `used`, best first: boxes [N, L, K', 4] and so on, with K' = min(K, R)."""
    chosen = torch.zeros_like(proposals.valid).flatten(1).scatter(1, used.order, used.valid)
    logits = proposals.logits.masked_fill(~chosen.reshape(proposals.valid.shape), NOTHING)
    count = min(logits.shape[-1], used.logits.shape[-1])
    logits, order = logits.topk(count, dim=-1)
    valid = logits > NOTHING
    boxes = proposals.boxes.gather(2, order[..., None].expand(-1, -1, -1, 4))
    return LevelProposals(boxes.masked_fill(~valid[..., None], 0.0), logits, valid)


def _candidates(level: LevelPredictions, anchors: int, count: int) -> _Candidates:
    """The best by objectness of as many `anchors`, K = `count`; a level with fewer is filled up."""
    filler = level.logits.new_full((level.logits.shape[0], count), NOTHING)
    logits, places = torch.cat([level.logits, filler], dim=1).topk(count, dim=1)
    places = places.clamp(max=anchors - 1)
    deltas = level.deltas.gather(1, places[..., None].expand(-1, -1, 4))
    return _Candidates(logits, places, deltas)
