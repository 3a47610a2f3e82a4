"""The convolutions of the pyramid and of the heads, with a norm or without."""

from torch import nn

from model.config.detector import NormKind
from model.network.frozen_norm import FrozenNormConv2d

# Of group normalisation (Wu and He 2018), as in Detectron2's GN configurations.
GROUPS = 32


def convolution(in_channels: int, channels: int, kernel: int, norm: NormKind) -> nn.Module:
    """A convolution that keeps its map's size, and its norm, which takes the place of its bias."""
    plain = nn.Conv2d(in_channels, channels, kernel, padding=kernel // 2, bias=norm == "none")
    if norm == "batch":
        return FrozenNormConv2d(plain, nn.BatchNorm2d(channels))
    if norm == "group":
        groups = GROUPS if channels % GROUPS == 0 else 1
        return nn.Sequential(plain, nn.GroupNorm(groups, channels))
    return plain


def xavier_fill(module: nn.Module) -> None:
    """Start every layer at Caffe2's Xavier fill (uniform, fan in) with zero biases, as in the authors' code."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_uniform_(layer.weight, a=1)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
