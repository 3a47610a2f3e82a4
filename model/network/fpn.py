"""The feature pyramid (section 3 of the FPN paper, figure 3).

A 1x1 lateral convolution brings each C_k to d channels; from the coarsest down, a merged map is the lateral plus the
coarser merged map doubled by nearest neighbour; a 3x3 convolution on every merged map gives P_k and is not fed back.
There is no non-linearity and no normalisation. P6 is P5 subsampled by two, for proposals only.

Legend
    C2..C5  bottom-up maps, strides 4, 8, 16, 32
    P2..P6  pyramid maps, strides 4, 8, 16, 32, 64, d channels each
"""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

# Level k has stride 2^k.
LEVELS = (2, 3, 4, 5, 6)


class FeaturePyramid(nn.Module):
    """Turns (C2, C3, C4, C5) into (P2, P3, P4, P5, P6).

    Attributes:
        levels: which maps come out, by number: level k has stride 2^k.
        channels: of each of them.
    """

    levels: tuple[int, ...] = LEVELS

    def __init__(self, in_channels: tuple[int, ...], channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.laterals = lateral_convolutions(in_channels, channels)
        self.outputs = output_convolutions(len(in_channels), channels)
        fill_convolutions(self)

    def forward(self, features: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """P2..P6, each [N, d, H / stride, W / stride], of the maps of a frame in multiples of `FRAME_STRIDE`."""
        laterals = [lateral(c) for lateral, c in zip(self.laterals, features, strict=True)]
        merged = self.merged(laterals)
        return with_p6([output(m) for output, m in zip(self.outputs, merged, strict=True)])

    def merged(self, laterals: Sequence[Tensor]) -> list[Tensor]:
        """The maps that the last convolutions see, finest first: here `merge_top_down` of the laterals."""
        return merge_top_down(laterals)


def lateral_convolutions(in_channels: tuple[int, ...], channels: int) -> nn.ModuleList:
    """A 1x1 convolution from each of `in_channels` to `channels`."""
    return nn.ModuleList(nn.Conv2d(c, channels, 1) for c in in_channels)


def output_convolutions(count: int, channels: int) -> nn.ModuleList:
    """`count` 3x3 convolutions of `channels`, each of which keeps its map's size."""
    return nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in range(count))


def fill_convolutions(pyramid: nn.Module) -> None:
    """Start every convolution at Caffe2's Xavier fill (uniform, fan in) with zero biases, as in the authors' code."""
    for convolution in pyramid.modules():
        if isinstance(convolution, nn.Conv2d):
            nn.init.kaiming_uniform_(convolution.weight, a=1)
            assert convolution.bias is not None
            nn.init.zeros_(convolution.bias)


def doubled(features: Tensor) -> Tensor:
    """`features` [N, d, H, W] at twice the height and width, by nearest neighbour."""
    return F.interpolate(features, scale_factor=2.0, mode="nearest")


def merge_top_down(laterals: Sequence[Tensor]) -> list[Tensor]:
    """The merged maps, finest first: each of `laterals` plus the coarser merged map, doubled."""
    merged = [laterals[-1]]
    for lateral in laterals[-2::-1]:
        merged.insert(0, lateral + doubled(merged[0]))
    return merged


def with_p6(pyramid: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """P2..P5 and, subsampled from the last by two, P6."""
    return (*pyramid, F.max_pool2d(pyramid[-1], kernel_size=1, stride=2))
