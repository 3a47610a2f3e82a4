"""What tells ResNets and ResNeXts apart in a state dict that does not name its network."""

from typing import NamedTuple

from model.config.detector import BackboneName


class ResNetShape(NamedTuple):
    """What tells ResNets apart: blocks a stage, convolutions a block, groups and channels of a group in C2."""

    blocks: tuple[int, ...]
    convolutions: int = 3
    groups: int = 1
    width: int = 64


# He et al. 2015, table 1, and Xie et al. 2017.
NETWORKS: dict[BackboneName, ResNetShape] = {
    "resnet18": ResNetShape((2, 2, 2, 2), 2),
    "resnet34": ResNetShape((3, 4, 6, 3), 2),
    "resnet50": ResNetShape((3, 4, 6, 3)),
    "resnet101": ResNetShape((3, 4, 23, 3)),
    "resnet152": ResNetShape((3, 8, 36, 3)),
    "resnext50_32x4d": ResNetShape((3, 4, 6, 3), 3, 32, 4),
    "resnext101_32x4d": ResNetShape((3, 4, 23, 3), 3, 32, 4),
    "resnext101_32x8d": ResNetShape((3, 4, 23, 3), 3, 32, 8),
    "resnext101_64x4d": ResNetShape((3, 4, 23, 3), 3, 64, 4),
}
