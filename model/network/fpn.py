"""The feature pyramid (section 3 of the FPN paper, figure 3).

A 1x1 lateral convolution brings each C_k to d channels; from the coarsest down, a merged map is the lateral plus the
coarser merged map doubled by nearest neighbour; a 3x3 convolution on every merged map gives P_k and is not fed back.
There is no non-linearity, and unless it is asked for no normalisation. In the paper P6 is P5 subsampled by two, for
proposals only.

Legend
    C_k     a bottom-up map of stride 2^k; the paper takes C2..C5
    P_k     the pyramid's map of that stride, of d channels; the paper has P2..P6
"""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from model.config.detector import PyramidConfig
from model.network.convolutions import convolution, xavier_fill


class FeaturePyramid(nn.Module):
    """Turns the backbone's maps into as many of the pyramid, and those above them.

    Attributes:
        levels: which maps come out, by number: level k has stride 2^k.
        stage_levels: those of them that are made of the backbone's maps.
        channels: of each of them.
    """

    def __init__(self, in_channels: tuple[int, ...], config: PyramidConfig) -> None:
        super().__init__()
        self.levels, self.stage_levels = config.levels, config.stage_levels
        self.channels = config.channels
        self.laterals = lateral_convolutions(in_channels, config)
        self.outputs = output_convolutions(len(in_channels), config)
        self.top = TopLevels(config)
        xavier_fill(self)

    def forward(self, features: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The maps, each [N, d, H / stride, W / stride], of the maps of a frame in multiples of `FRAME_STRIDE`."""
        laterals = [lateral(c) for lateral, c in zip(self.laterals, features, strict=True)]
        merged = self.merged(laterals)
        maps = [output(m) for output, m in zip(self.outputs, merged, strict=True)]
        return (*maps, *self.top(maps[-1]))

    def merged(self, laterals: Sequence[Tensor]) -> list[Tensor]:
        """The maps that the last convolutions see, finest first: here `merge_top_down` of the laterals."""
        return merge_top_down(laterals, self.stage_levels)


class TopLevels(nn.Module):
    """The levels above the last that is made of a stage, each half of the one below: pooled, or convolutions'."""

    def __init__(self, config: PyramidConfig) -> None:
        super().__init__()
        self.count = len(config.levels) - len(config.stage_levels)
        convolutions = self.count if config.top == "convolution" else 0
        d = config.channels
        self.convolutions = nn.ModuleList(
            nn.Conv2d(d, d, 3, stride=2, padding=1) for _ in range(convolutions)
        )

    def forward(self, last: Tensor) -> list[Tensor]:
        """The maps above `last` [N, d, H, W], finest first. Between convolutions there is a ReLU, as in RetinaNet."""
        above: list[Tensor] = []
        for place, convolve in enumerate(self.convolutions):
            last = convolve(F.relu(last) if place else last)
            above.append(last)
        while len(above) < self.count:
            last = F.max_pool2d(last, kernel_size=1, stride=2)
            above.append(last)
        return above


def lateral_convolutions(in_channels: tuple[int, ...], config: PyramidConfig) -> nn.ModuleList:
    """A 1x1 convolution from each of `in_channels` to the pyramid's channels."""
    return nn.ModuleList(convolution(c, config.channels, 1, config.norm) for c in in_channels)


def output_convolutions(count: int, config: PyramidConfig) -> nn.ModuleList:
    """`count` 3x3 convolutions of the pyramid's channels, each of which keeps its map's size."""
    d = config.channels
    return nn.ModuleList(convolution(d, d, 3, config.norm) for _ in range(count))


def doubled(features: Tensor) -> Tensor:
    """`features` [N, d, H, W] at twice the height and width, by nearest neighbour."""
    return F.interpolate(features, scale_factor=2.0, mode="nearest")


def merge_top_down(laterals: Sequence[Tensor], levels: Sequence[int]) -> list[Tensor]:
    """The merged maps, finest first: each of `laterals` plus the coarser merged map, doubled.

    `levels` are the laterals' own; two of the same stride are added as they are.
    """
    merged = [laterals[-1]]
    for place in range(len(laterals) - 2, -1, -1):
        coarser = merged[0] if levels[place] == levels[place + 1] else doubled(merged[0])
        merged.insert(0, laterals[place] + coarser)
    return merged
