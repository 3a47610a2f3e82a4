"""The features of regions (section 4.2 of the FPN paper): a level for each, and RoIAlign on it.

Regions of width w and height h are pooled from level k = floor(k0 + log2(sqrt(w h) / 224)) (equation 1), held to
the levels there are, in the paper P2..P5. RoIAlign stands for the paper's RoIPool, which is an option.

Legend
    M   regions, of any number of images        N   images
    d   pyramid channels                        S   pooled resolution (7)
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torchvision.ops import roi_align, roi_pool

from model.config.detector import RoiConfig
from model.network.boxes import box_area
from model.network.widening import widened

# The paper's.
POOLED_LEVELS = (2, 3, 4, 5)

# A box of exactly 224 px at any offset must land on k0: in float32 its area may come out a hair low, and floor would
# then drop it a level. 1e-6 outside the logarithm suffices; 1e-8 inside it is lost to rounding.
LEVEL_EPSILON = 1e-6

# Rows of a map that are pooled together: of 8, 16, 32, 64 (all alike within 10 %) measured best.
BAND_CELLS = 16

# The parts of the sorting key: a level's place among at most eight, an image, a band of rows, a column. Together they
# stay below 2^30, for OpenVINO and TensorRT keep 64-bit integers in 32 bits. So frames have at most MAX_SIDE pixels a
# side, which export holds buckets to, and batches MAX_IMAGES images; a server's FPN_MAX_BATCH ends below. What lies
# past the last column, as it may at a stride of 2, is sorted as if it were there.
MAX_SIDE, MAX_IMAGES = 2**12, 2**11
_COLUMNS = MAX_SIDE // 4
_BANDS = _COLUMNS // BAND_CELLS


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
    owners = regions.images.to(regions.boxes.dtype)[:, None]
    rows = torch.cat([owners, regions.boxes], dim=1)  # (M, 5)
    order = reading_order(regions, levels[0])
    assigned = regions.levels[order]
    by_level = [order[torch.nonzero(assigned == level).squeeze(1)] for level in levels]
    pooled = torch.cat(
        [
            _pool_level(widened(features), rows[places], 2**level, config)
            for level, features, places in zip(levels, pyramid, by_level, strict=False)
        ]
    )
    gathered = torch.cat(by_level)
    # each box has one level; a tracer cannot know
    torch._check(pooled.shape[0] == rows.shape[0])
    torch._check(gathered.shape[0] == rows.shape[0])
    return pooled, gathered


def reading_order(regions: Regions, finest: int = POOLED_LEVELS[0]) -> Tensor:
    """Order int64 [M] of `regions` by level, image, band of rows and column, as their maps lie in memory.

    Neighbours then find their samples in the cache: RoIAlign of 1,000 proposals takes half the time that it takes in
    the order of their scores (docs/decisions/0004-pooling-and-suppression.md).
    """
    # argsort of integers: in float32 the parts of the key would not all be kept
    return torch.argsort(sorting_key(regions, finest))


def sorting_key(regions: Regions, finest: int = POOLED_LEVELS[0]) -> Tensor:
    """What `reading_order` sorts by: int64 [M], from 0 to below 2^30 for frames and batches within the limits."""
    boxes, images, assigned = regions
    stride = torch.pow(2.0, assigned)[:, None]
    x, y = torch.floor((boxes[:, :2] + boxes[:, 2:]) * 0.5 / stride).unbind(1)
    column = x.clamp(0, _COLUMNS - 1).to(torch.int64)
    band = torch.floor(y / BAND_CELLS).clamp(0, _BANDS - 1).to(torch.int64)
    place = assigned - finest
    key: Tensor = ((place * MAX_IMAGES + images) * _BANDS + band) * _COLUMNS + column
    return key


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
