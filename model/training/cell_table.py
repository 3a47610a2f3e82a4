"""The feature maps as one table of cells, from which training reads only what its losses touch.

A training step looks at 256 anchors and at most 512 regions of an image, of tens of thousands. Read as rows of a
table, the gradient of those few is a sum over their rows, instead of a pass over every map: on a CPU the backward
pass of torchvision's RoIAlign runs on one core, and that of the proposal head's convolution costs twice its forward
pass. Values and gradients are those of the convolution and of RoIAlign (He et al. 2017, section 3), which is a
weighted sum of cells: bilinear interpolation at fixed samples, averaged.

Legend
    N   images              L   maps (levels)           d   channels
    H W cells of a map      C   cells of one image, all maps together, finest first, row by row
    T   rows: a map's N*H*W after the other's, and a last one that is zero
    M   regions             S   pooled resolution       s   sample lines through a region: S * sampling_ratio
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from model.config.detector import RoiConfig
from model.network.pooling import POOLED_LEVELS, assign_levels, pool_regions


class Cells(NamedTuple):
    """Rows [T + 1, d] float32 of all maps; and of each map, int64 [L], its height, width and first cell in C."""

    rows: Tensor
    heights: Tensor
    widths: Tensor
    firsts: Tensor
    images: int

    @property
    def nothing(self) -> int:
        """The number of the zero row."""
        return self.rows.shape[0] - 1

    def row(self, level: Tensor, image: Tensor, y: Tensor, x: Tensor) -> Tensor:
        """The row int64 [...] of the cell (y, x) of a map; all are int64 and broadcast together."""
        height, width = self.heights[level], self.widths[level]
        return self.images * self.firsts[level] + (image * height + y) * width + x


def table_of(maps: tuple[Tensor, ...]) -> Cells:
    """The table of `maps`, each [N, d, H, W]; gradients go through it to them."""
    # (N, d, H, W) -> (N*H*W, d): no copy where the channels are stored last
    flat = [features.permute(0, 2, 3, 1).flatten(0, 2) for features in maps]
    rows = torch.cat([*flat, flat[0].new_zeros((1, flat[0].shape[1]))]).float()
    sizes = torch.tensor([features.shape[-2:] for features in maps], device=rows.device)
    cells = sizes.prod(dim=1)
    return Cells(rows, sizes[:, 0], sizes[:, 1], cells.cumsum(0) - cells, maps[0].shape[0])


def neighbourhoods(cells: Cells, images: Tensor, places: Tensor) -> Tensor:
    """What a 3x3 convolution sees of K cells: [K, 9 * d], row by row, zero beyond the border.

    Args:
        cells: of the maps.
        images: int64 [K], which image.
        places: int64 [K], which of its C cells.
    """
    level = (places[:, None] >= cells.firsts).sum(dim=1) - 1
    height, width = cells.heights[level, None, None], cells.widths[level, None, None]
    place = (places - cells.firsts[level])[:, None, None]
    step = torch.arange(-1, 2, device=places.device)
    y, x = place // width + step[:, None], place % width + step  # (K, 3, 1), (K, 1, 3)
    inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
    row = cells.row(level[:, None, None], images[:, None, None], y, x)
    row = torch.where(inside, row, cells.nothing)
    return F.embedding(row.flatten(1), cells.rows, padding_idx=cells.nothing).flatten(1)


def pooled_regions(
    maps: tuple[Tensor, ...],
    cells: Cells,
    boxes: Tensor,
    images: Tensor,
    config: RoiConfig,
    levels: tuple[int, ...] = POOLED_LEVELS,
) -> Tensor:
    """Features [M, d, S, S] float32 of each box: `pool_regions` of the same arguments, from `cells` where they can be.

    The maximum of RoIPool is no sum of cells. With a sampling ratio of 0 it is one, but of another number of cells in
    each region: those are pooled from the maps, which takes a CPU three times as long (2.6 s against 0.85 s for 512
    regions of 256 channels, backward pass included).
    """
    if config.pooling == "align" and config.sampling_ratio > 0:
        return align_regions(cells, boxes, images, config, levels)
    return pool_regions(maps, boxes, images, config, levels)


def align_regions(
    cells: Cells,
    boxes: Tensor,
    images: Tensor,
    config: RoiConfig,
    levels: tuple[int, ...] = POOLED_LEVELS,
) -> Tensor:
    """RoIAlign of one or more samples a bin: `pool_regions` of the same arguments, read from `cells`.

    Features [M, d, S, S] float32.
    """
    assert config.sampling_ratio > 0
    assigned = assign_levels(boxes, config, levels)
    level = assigned - levels[0]
    # to cells of their map: level k has stride 2^k
    boxes = boxes * torch.pow(0.5, assigned)[:, None]
    x, x_weights = _sample_lines(boxes[:, 0::2], cells.widths[level], config)
    y, y_weights = _sample_lines(boxes[:, 1::2], cells.heights[level], config)
    M, side, taps = boxes.shape[0], config.resolution, 2 * config.sampling_ratio
    # (M, s, 2) -> (M, S, 1, taps, 1) and (M, 1, S, 1, taps): every pair of a row's and a column's taps
    y, y_weights = (each.reshape(M, side, 1, taps, 1) for each in (y, y_weights))
    x, x_weights = (each.reshape(M, 1, side, 1, taps) for each in (x, x_weights))
    row = cells.row(level[:, None, None, None, None], images[:, None, None, None, None], y, x)
    weights = y_weights * x_weights / config.sampling_ratio**2
    pooled = F.embedding_bag(
        row.reshape(-1, taps * taps),
        cells.rows,
        mode="sum",
        per_sample_weights=weights.reshape(-1, taps * taps),
    )
    d = cells.rows.shape[1]
    return pooled.reshape(M, side, side, d).permute(0, 3, 1, 2)  # (M*S*S, d) -> (M, d, S, S)


def _sample_lines(spans: Tensor, limits: Tensor, config: RoiConfig) -> tuple[Tensor, Tensor]:
    """The two cells int64 [M, s, 2] between which each sample line runs, and their weights [M, s, 2].

    As in RoIAlign's code: a line within a cell outside the map is drawn to the border, one beyond it counts nothing.

    Args:
        spans: [M, 2], where the regions begin and end along one axis, in cells.
        limits: int64 [M], the map's cells along it.
        config: resolution, samples, alignment.
    """
    start, size = spans[:, :1], spans[:, 1:] - spans[:, :1]
    if config.aligned:
        start = start - 0.5
    else:
        size = size.clamp(min=1.0)
    lines = config.resolution * config.sampling_ratio
    place = start + (torch.arange(lines, device=spans.device) + 0.5) * size / lines  # (M, s)
    inside = (place >= -1.0) & (place <= limits[:, None])
    last = limits[:, None] - 1
    place = torch.minimum(place.clamp(min=0.0), last)
    low = place.floor()
    share = place - low
    cells = torch.stack([low, torch.minimum(low + 1, last)], dim=-1).to(torch.int64)
    return cells, torch.stack([1 - share, share], dim=-1) * inside[..., None]
