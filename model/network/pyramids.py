"""What the paper's ablations put in the pyramid's place (tables 1 to 3), and the choice among them.

Each takes the backbone's (C2, ..., C5) and gives the maps that both stages look at. Like `FeaturePyramid`, each says
which `levels` those are (level k has stride 2^k), which of them are made of a stage (`stage_levels`), and how many
`channels` they have. Levels are the paper's where the configuration takes the paper's strides.

    kind        maps      row   what it is
    fpn         P2..P6    c     fpn.py
    finest      P2        f     the pyramid's finest map alone
    bottom_up   P2..P6    d     no top-down pathway: each C_k through a 1x1 and a 3x3 convolution
    no_lateral  P2..P6    e     no lateral connections: C5 through a 1x1, doubled again and again, a 3x3 on each
    c4          C4        a     the backbone's, with its last stage as the second stage's head
    c5          C5        b     the backbone's

The paper does not say whether (d) and (e) have a P6. Its "200k anchors" need one, and it is made as the pyramid's is.
"""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from model.config.detector import PyramidConfig
from model.network.convolutions import convolution, xavier_fill
from model.network.fpn import (
    FeaturePyramid,
    TopLevels,
    doubled,
    lateral_convolutions,
    merge_top_down,
    output_convolutions,
)


class FinestMap(nn.Module):
    """The finest map of the pyramid: all lateral connections and the top-down pathway, one output."""

    def __init__(self, in_channels: tuple[int, ...], config: PyramidConfig) -> None:
        super().__init__()
        self.levels = self.stage_levels = config.stage_levels[:1]
        self.channels = config.channels
        self.laterals = lateral_convolutions(in_channels, config)
        self._merged_levels = config.stage_levels
        [self.output] = output_convolutions(1, config)
        xavier_fill(self)

    def forward(self, features: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """(P2,), [N, d, H / 4, W / 4]."""
        laterals = [lateral(c) for lateral, c in zip(self.laterals, features, strict=True)]
        return (self.output(merge_top_down(laterals, self._merged_levels)[0]),)


class BottomUpPyramid(FeaturePyramid):
    """Lateral connections without a top-down pathway: no map knows more than its own stage does."""

    def merged(self, laterals: Sequence[Tensor]) -> list[Tensor]:
        """The laterals as they are."""
        return list(laterals)


class NoLateralPyramid(nn.Module):
    """A top-down pathway without lateral connections: all maps are of C5, doubled and filtered."""

    def __init__(self, in_channels: tuple[int, ...], config: PyramidConfig) -> None:
        super().__init__()
        self.levels, self.stage_levels = config.levels, config.stage_levels
        self.channels = config.channels
        self.top = convolution(in_channels[-1], config.channels, 1, config.norm)
        self.outputs = output_convolutions(len(in_channels), config)
        self.above = TopLevels(config)
        xavier_fill(self)

    def forward(self, features: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The levels, each [N, d, H / stride, W / stride]; of `features` only the last is looked at."""
        maps = [self.top(features[-1])]
        for finer, coarser in reversed(list(pairwise(self.stage_levels))):
            maps.insert(0, maps[0] if finer == coarser else doubled(maps[0]))
        maps = [output(m) for output, m in zip(self.outputs, maps, strict=True)]
        return (*maps, *self.above(maps[-1]))


class LastMap(nn.Module):
    """The coarsest map of a backbone, whose stride is 2 ** `level`, as it is."""

    def __init__(self, level: int, channels: int) -> None:
        super().__init__()
        self.levels = self.stage_levels = (level,)
        self.channels = channels

    def forward(self, features: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """(C4,) or (C5,)."""
        return features[-1:]


Pyramid = FeaturePyramid | FinestMap | NoLateralPyramid | LastMap
_ON_ALL_STAGES: dict[str, type[FeaturePyramid | FinestMap | NoLateralPyramid]] = {
    "fpn": FeaturePyramid,
    "finest": FinestMap,
    "bottom_up": BottomUpPyramid,
    "no_lateral": NoLateralPyramid,
}


def build_pyramid(
    config: PyramidConfig, in_channels: tuple[int, ...], strides: tuple[int, ...]
) -> Pyramid:
    """The features that `config` names, on a backbone whose maps have `in_channels` and `strides`, finest first."""
    if config.kind in ("c4", "c5"):
        return LastMap(strides[-1].bit_length() - 1, in_channels[-1])
    return _ON_ALL_STAGES[config.kind](in_channels, config)
