"""The region proposal head, shared by all pyramid levels (section 4.1 of the FPN paper).

A 3x3 convolution with ReLU, or several, and two sibling 1x1 convolutions, one set of weights for all levels.

Legend
    N   images            A   anchors a cell            H W cells of a level
    d   channels of a 3x3 convolution                   S   anchors that the losses look at
    logits   objectness before the sigmoid              deltas   see boxes.py
"""

from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.network.widening import widened

BOX_WEIGHTS = (1.0, 1.0, 1.0, 1.0)


class LevelPredictions(NamedTuple):
    """What the head says of one level: logits [N, H*W*A] and deltas [N, H*W*A, 4], in anchor order."""

    logits: Tensor
    deltas: Tensor


class RpnHead(nn.Module):
    """The shared head: from maps of `in_channels`, its 3x3 convolutions make `channels`, `depth` of them in a row.

    Weights start at N(0, 0.01), biases at 0.
    """

    def __init__(
        self, in_channels: int, channels: int, anchors_per_cell: int, depth: int = 1
    ) -> None:
        super().__init__()
        self.anchors_per_cell = anchors_per_cell
        widths = [in_channels, *[channels] * depth]
        convolutions = [nn.Conv2d(c, d, 3, padding=1) for c, d in pairwise(widths)]
        self.before = nn.ModuleList(convolutions[:-1])
        self.conv = convolutions[-1]
        self.logits = nn.Conv2d(channels, anchors_per_cell, 1)
        self.deltas = nn.Conv2d(channels, anchors_per_cell * 4, 1)
        for layer in (*convolutions, self.logits, self.deltas):
            nn.init.normal_(layer.weight, std=0.01)
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)

    def forward(self, pyramid: tuple[Tensor, ...]) -> list[LevelPredictions]:
        """Predictions for each level, finest first."""
        return [self._level(features) for features in self.prepared(pyramid)]

    def prepared(self, pyramid: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The maps that the last 3x3 convolution sees: the pyramid's own where there is no other."""
        for convolve in self.before:
            pyramid = tuple(F.relu(convolve(features)) for features in pyramid)
        return pyramid

    def at(self, neighbourhoods: Tensor, anchors: Tensor) -> LevelPredictions:
        """Predictions for S anchors alone, logits [S] and deltas [S, 4]: `forward`'s, of which the losses need few.

        Args:
            neighbourhoods: [S, 9 * channels], what the last 3x3 convolution sees of the `prepared` maps at their cells
                (training/cell_table.py).
            anchors: int64 [S], which of its cell's A anchors each is.
        """
        kernel = self.conv.weight.permute(0, 2, 3, 1).flatten(1)  # (d, c, 3, 3) -> (d, 9*c)
        hidden = F.relu(F.linear(neighbourhoods, kernel, self.conv.bias))
        logits = F.linear(hidden, self.logits.weight.flatten(1), self.logits.bias)  # (S, A)
        deltas = F.linear(hidden, self.deltas.weight.flatten(1), self.deltas.bias)  # (S, A*4)
        chosen = torch.arange(anchors.shape[0], device=anchors.device), anchors
        return LevelPredictions(
            widened(logits[chosen]), widened(deltas.reshape(logits.shape[0], -1, 4)[chosen])
        )

    def _level(self, features: Tensor) -> LevelPredictions:
        hidden = F.relu(self.conv(features))
        logits, deltas = self.logits(hidden), self.deltas(hidden)
        logits = logits.permute(0, 2, 3, 1).flatten(1)  # (N, A, H, W) -> (N, H*W*A)
        # (N, A*4, H, W) -> (N, H, W, A*4) -> (N, H*W*A, 4)
        deltas = deltas.permute(0, 2, 3, 1).reshape(deltas.shape[0], -1, 4)
        return LevelPredictions(widened(logits), widened(deltas))
