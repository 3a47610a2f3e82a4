"""Fast R-CNN on the pyramid (section 4.2 of the FPN paper): a level for each proposal, RoIAlign, two layers.

Proposals of width w and height h are pooled from level k = floor(k0 + log2(sqrt(w h) / 224)) (equation 1), held to
P2..P5. RoIAlign stands for the paper's RoIPool. The head's weights are shared by all levels.

Legend
    M   regions, of any number of images        C   foreground classes; background is column C
    d   pyramid channels                        S   pooled resolution (7)
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import roi_align

from model.boxes import box_area
from model.config import RoiConfig
from model.fpn import STRIDES

FINEST, COARSEST = 2, 5

# A box of exactly 224 px at any offset must land on k0: in float32 its area may come out a hair low, and floor would
# then drop it a level. 1e-6 outside the logarithm suffices; 1e-8 inside it is lost to rounding.
LEVEL_EPSILON = 1e-6


class RoiPredictions(NamedTuple):
    """What the head says of M regions: logits [M, C + 1], background last, and deltas [M, C, 4] for each class."""

    logits: Tensor
    deltas: Tensor


def assign_levels(boxes: Tensor, config: RoiConfig) -> Tensor:
    """The pyramid level (2..5) int64 [...] that each of `boxes` [..., 4] is pooled from: equation 1.

    Boxes are in pixels of the network's input. Empty boxes go to the finest level.
    """
    side = box_area(boxes).clamp(min=0).sqrt()
    level = torch.floor(
        config.canonical_level + torch.log2(side / config.canonical_size) + LEVEL_EPSILON
    )
    return level.clamp(FINEST, COARSEST).to(torch.int64)


def pool_regions(
    pyramid: tuple[Tensor, ...], boxes: Tensor, images: Tensor, config: RoiConfig
) -> Tensor:
    """Features [M, d, S, S] float32 of each box, from the level that equation 1 gives it.

    Args:
        pyramid: P2..P5 (what follows is not looked at), each [N, d, H / stride, W / stride].
        boxes: [M, 4] xyxy pixels of the input.
        images: int64 [M], which image of the batch each box belongs to.
        config: resolution, samples, alignment.
    """
    levels = assign_levels(boxes, config)
    regions = torch.cat([images.to(boxes.dtype)[:, None], boxes], dim=1)  # (M, 5)
    channels, side = pyramid[0].shape[1], config.resolution
    pooled = boxes.new_zeros((boxes.shape[0], channels, side, side))
    for level, features, stride in zip(range(FINEST, COARSEST + 1), pyramid, STRIDES, strict=False):
        chosen = torch.nonzero(levels == level).squeeze(1)
        samples = roi_align(
            features.float(),
            regions[chosen],
            output_size=side,
            spatial_scale=1.0 / stride,
            sampling_ratio=config.sampling_ratio,
            aligned=config.aligned,
        )
        pooled = pooled.index_copy(0, chosen, samples)
    return pooled


class RoiHead(nn.Module):
    """Two fully connected layers, then sibling class and class-specific box predictions.

    The predictors start at N(0, 0.01) and N(0, 0.001) with zero biases, the layers at Caffe2's Xavier fill.
    """

    def __init__(self, channels: int, num_classes: int, config: RoiConfig) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.fc1 = nn.Linear(channels * config.resolution**2, config.fc_channels)
        self.fc2 = nn.Linear(config.fc_channels, config.fc_channels)
        self.logits = nn.Linear(config.fc_channels, num_classes + 1)
        self.deltas = nn.Linear(config.fc_channels, num_classes * 4)
        for layer in (self.fc1, self.fc2):
            nn.init.kaiming_uniform_(layer.weight, a=1)
        nn.init.normal_(self.logits.weight, std=0.01)
        nn.init.normal_(self.deltas.weight, std=0.001)
        for layer in (self.fc1, self.fc2, self.logits, self.deltas):
            nn.init.zeros_(layer.bias)

    def forward(self, pooled: Tensor) -> RoiPredictions:
        """Predictions, float32, for `pooled` [M, d, S, S]."""
        hidden = F.relu(self.fc1(pooled.flatten(1)))  # (M, d, S, S) -> (M, d*S*S)
        hidden = F.relu(self.fc2(hidden))
        deltas = self.deltas(hidden).reshape(-1, self.num_classes, 4)  # (M, C*4) -> (M, C, 4)
        return RoiPredictions(self.logits(hidden).float(), deltas.float())
