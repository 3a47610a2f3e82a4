"""Fast R-CNN on the pyramid (section 4.2 of the FPN paper): a level for each proposal, RoIAlign, two layers.

Proposals of width w and height h are pooled from level k = floor(k0 + log2(sqrt(w h) / 224)) (equation 1), held to
P2..P5. RoIAlign stands for the paper's RoIPool, which is an option. The head's weights are shared by all levels.

Legend
    M   regions, of any number of images        C   foreground classes; background is column C
    d   pyramid channels                        S   pooled resolution (7)
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import roi_align, roi_pool

from model.boxes import box_area
from model.config import RoiConfig

POOLED_LEVELS = (2, 3, 4, 5)

# A box of exactly 224 px at any offset must land on k0: in float32 its area may come out a hair low, and floor would
# then drop it a level. 1e-6 outside the logarithm suffices; 1e-8 inside it is lost to rounding.
LEVEL_EPSILON = 1e-6

# Rows of a map that are pooled together, of 8, 16, 32, 64 (all alike within 10 %) measured best; and what no frame's
# side and no batch reaches, for the parts of a sorting key.
BAND_CELLS = 16
MAX_SIDE, MAX_IMAGES = 2**16, 2**12


class RoiPredictions(NamedTuple):
    """What the head says of M regions: logits [M, C + 1], background last, and deltas [M, C, 4] for each class."""

    logits: Tensor
    deltas: Tensor


class Regions(NamedTuple):
    """What is pooled: boxes [M, 4] xyxy pixels of the input, images int64 [M] of the batch, levels int64 [M]."""

    boxes: Tensor
    images: Tensor
    levels: Tensor


def assign_levels(
    boxes: Tensor, config: RoiConfig, levels: tuple[int, ...] = POOLED_LEVELS
) -> Tensor:
    """The one of `levels` int64 [...] that each of `boxes` [..., 4] is pooled from: equation 1.

    Boxes are in pixels of the network's input. Empty boxes go to the finest level.
    """
    side = box_area(boxes).clamp(min=0).sqrt()
    level = torch.floor(
        config.canonical_level + torch.log2(side / config.canonical_size) + LEVEL_EPSILON
    )
    return level.clamp(levels[0], levels[-1]).to(torch.int64)


def pool_regions(
    pyramid: tuple[Tensor, ...],
    boxes: Tensor,
    images: Tensor,
    config: RoiConfig,
    levels: tuple[int, ...] = POOLED_LEVELS,
) -> Tensor:
    """Features [M, d, S, S] float32 of each box, from the level that equation 1 gives it.

    Args:
        pyramid: the maps of `levels` (what follows is not looked at), each [N, d, H / stride, W / stride].
        boxes: [M, 4] xyxy pixels of the input.
        images: int64 [M], which image of the batch each box belongs to.
        config: resolution, samples, alignment.
        levels: the maps' numbers, finest first; level k has stride 2^k.
    """
    regions = Regions(boxes, images, assign_levels(boxes, config, levels))
    pooled, order = pool_in_reading_order(pyramid, regions, config, levels)
    return pooled[order.argsort()]


def pool_in_reading_order(
    pyramid: tuple[Tensor, ...],
    regions: Regions,
    config: RoiConfig,
    levels: tuple[int, ...] = POOLED_LEVELS,
) -> tuple[Tensor, Tensor]:
    """The features of `pool_regions` in the order that is quickest to pool, and that order, int64 [M].

    Row i belongs to box `order[i]`. The features are the largest tensor of the second stage: who needs the boxes' own
    order puts what is made of the features back, not the features.
    """
    order = reading_order(regions)
    assigned = regions.levels[order]
    owners = regions.images.to(regions.boxes.dtype)[:, None]
    rows = torch.cat([owners, regions.boxes], dim=1)[order]  # (M, 5)
    pooled = torch.cat(
        [
            _pool_level(
                features.float(),
                rows[torch.nonzero(assigned == level).squeeze(1)],
                2**level,
                config,
            )
            for level, features in zip(levels, pyramid, strict=False)
        ]
    )
    torch._check(pooled.shape[0] == rows.shape[0])  # each box has one level; a tracer cannot know
    return pooled, order


def reading_order(regions: Regions) -> Tensor:
    """Order int64 [M] of `regions` by level, image, band of rows and column, as their maps lie in memory.

    Neighbours then find their samples in the cache: RoIAlign of 1,000 proposals takes half the time that it takes in
    the order of their scores (docs/decisions/0004-pooling-and-suppression.md).
    """
    boxes, images, assigned = regions
    centre_x, centre_y = (boxes[:, :2] + boxes[:, 2:]).mul(0.5).clamp(0, MAX_SIDE - 1).unbind(1)
    band = torch.div(centre_y, BAND_CELLS * 2.0**assigned, rounding_mode="floor").to(torch.int64)
    place = band * MAX_SIDE + centre_x.to(torch.int64)
    # argsort of integers: in float32 the parts of the key would not all be kept
    return torch.argsort((assigned * MAX_IMAGES + images) * MAX_SIDE**2 + place)


def _pool_level(features: Tensor, regions: Tensor, stride: int, config: RoiConfig) -> Tensor:
    """Features [M, d, S, S] of `regions` [M, 5] (image, xyxy in pixels of the input) from one map."""
    samples: Tensor
    if config.pooling == "pool":
        samples = roi_pool(features, regions, config.resolution, 1.0 / stride)
    else:
        samples = roi_align(
            features,
            regions,
            output_size=config.resolution,
            spatial_scale=1.0 / stride,
            sampling_ratio=config.sampling_ratio,
            aligned=config.aligned,
        )
    return samples


class RoiHead(nn.Module):
    """Two fully connected layers, then sibling class and class-specific box predictions.

    The layers start at Caffe2's Xavier fill.
    """

    def __init__(self, channels: int, num_classes: int, config: RoiConfig) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels * config.resolution**2, config.fc_channels)
        self.fc2 = nn.Linear(config.fc_channels, config.fc_channels)
        self.logits = nn.Linear(config.fc_channels, num_classes + 1)
        self.deltas = nn.Linear(config.fc_channels, num_classes * 4)
        for layer in (self.fc1, self.fc2):
            nn.init.kaiming_uniform_(layer.weight, a=1)
            nn.init.zeros_(layer.bias)
        _start_predictors(self.logits, self.deltas)

    def forward(self, pooled: Tensor) -> RoiPredictions:
        """Predictions, float32, for `pooled` [M, d, S, S]."""
        hidden = F.relu(self.fc1(pooled.flatten(1)))  # (M, d, S, S) -> (M, d*S*S)
        hidden = F.relu(self.fc2(hidden))
        return _predictions(self.logits(hidden), self.deltas(hidden))


class Conv5Head(nn.Module):
    """The backbone's last stage on regions pooled from C4, averaged over the region (tables 2 and 3, row a).

    The stage halves 14 x 14 samples to 7 x 7. Of a ResNet it is conv5; of MobileNetV2 its blocks of stride 32.

    Args:
        stage: those layers, with their ImageNet weights.
        channels: that they put out.
        num_classes: C.
    """

    def __init__(self, stage: nn.Module, channels: int, num_classes: int) -> None:
        super().__init__()
        self.stage = stage
        self.logits = nn.Linear(channels, num_classes + 1)
        self.deltas = nn.Linear(channels, num_classes * 4)
        _start_predictors(self.logits, self.deltas)

    def forward(self, pooled: Tensor) -> RoiPredictions:
        """Predictions, float32, for `pooled` [M, channels of C4, S, S]."""
        hidden = self.stage(pooled).mean(dim=(2, 3))  # (M, channels, S/2, S/2) -> (M, channels)
        return _predictions(self.logits(hidden), self.deltas(hidden))


def _start_predictors(logits: nn.Linear, deltas: nn.Linear) -> None:
    """As in Detectron: N(0, 0.01) and N(0, 0.001), zero biases."""
    nn.init.normal_(logits.weight, std=0.01)
    nn.init.normal_(deltas.weight, std=0.001)
    for layer in (logits, deltas):
        nn.init.zeros_(layer.bias)


def _predictions(logits: Tensor, deltas: Tensor) -> RoiPredictions:
    num_classes = logits.shape[1] - 1
    deltas = deltas.reshape(-1, num_classes, 4)  # (M, C*4) -> (M, C, 4)
    return RoiPredictions(logits.float(), deltas.float())
