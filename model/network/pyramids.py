"""What the paper's ablations put in the pyramid's place (tables 1 to 3), and the choice among them.

Each takes the backbone's (C2, ..., C5) and gives the maps that both stages look at. Like `FeaturePyramid`, each says
which `levels` those are (level k has stride 2^k) and how many `channels` they have.

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

from torch import Tensor, nn

from model.config.detector import PyramidConfig
from model.network.fpn import (
    LEVELS,
    FeaturePyramid,
    doubled,
    fill_convolutions,
    lateral_convolutions,
    merge_top_down,
    output_convolutions,
    with_p6,
)


class FinestMap(nn.Module):
    """P2 of the pyramid: all lateral connections and the top-down pathway, one output."""

    levels: tuple[int, ...] = (2,)

    def __init__(self, in_channels: tuple[int, ...], channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.laterals = lateral_convolutions(in_channels, channels)
        [self.output] = output_convolutions(1, channels)
        fill_convolutions(self)

    def forward(self, features: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """(P2,), [N, d, H / 4, W / 4]."""
        laterals = [lateral(c) for lateral, c in zip(self.laterals, features, strict=True)]
        return (self.output(merge_top_down(laterals)[0]),)


class BottomUpPyramid(FeaturePyramid):
    """Lateral connections without a top-down pathway: no map knows more than its own stage does."""

    def merged(self, laterals: Sequence[Tensor]) -> list[Tensor]:
        """The laterals as they are."""
        return list(laterals)


class NoLateralPyramid(nn.Module):
    """A top-down pathway without lateral connections: all maps are of C5, doubled and filtered."""

    levels: tuple[int, ...] = LEVELS

    def __init__(self, in_channels: tuple[int, ...], channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.top = nn.Conv2d(in_channels[-1], channels, 1)
        self.outputs = output_convolutions(len(in_channels), channels)
        fill_convolutions(self)

    def forward(self, features: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """P2..P6, each [N, d, H / stride, W / stride]; of `features` only C5 is looked at."""
        maps = [self.top(features[-1])]
        for _ in self.outputs[1:]:
            maps.insert(0, doubled(maps[0]))
        return with_p6([output(m) for output, m in zip(self.outputs, maps, strict=True)])


class LastMap(nn.Module):
    """The coarsest map of a backbone that ends with C`level`, as it is."""

    def __init__(self, level: int, channels: int) -> None:
        super().__init__()
        self.levels: tuple[int, ...] = (level,)
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


def build_pyramid(config: PyramidConfig, in_channels: tuple[int, ...]) -> Pyramid:
    """The features that `config` names, on a backbone whose maps have `in_channels`, C2 first."""
    if config.kind in ("c4", "c5"):
        return LastMap(int(config.kind[1]), in_channels[-1])
    return _ON_ALL_STAGES[config.kind](in_channels, config.channels)
