"""Anchors: one scale a pyramid level, several ratios (section 4.1 of the FPN paper).

Areas of 32^2, 64^2, 128^2, 256^2 and 512^2 pixels on P2..P6, ratios 1:2, 1:1 and 2:1; a single map has all
five. An anchor is centred on its cell's top-left corner, as in torchvision and Detectron2.

Legend
    A   anchors a cell (scales x ratios)
    H W cells of a level
"""

import torch
from torch import Tensor


def cell_anchors(
    sizes: tuple[float, ...], ratios: tuple[float, ...], rounded: bool = False
) -> Tensor:
    """Anchors [A, 4] float32, xyxy pixels around the origin, size-major; a ratio is height / width.

    `rounded` corners are whole pixels, halves to the even one.
    """
    size = torch.tensor(sizes, dtype=torch.float64)[:, None]
    ratio = torch.tensor(ratios, dtype=torch.float64)[None, :]
    height = (size * ratio.sqrt()).flatten()
    width = (size / ratio.sqrt()).flatten()
    corners = 0.5 * torch.stack([-width, -height, width, height], dim=1)
    return (corners.round() if rounded else corners).float()


def sizes_by_level(sizes: tuple[float, ...], levels: int) -> list[tuple[float, ...]]:
    """The scales of each of `levels` maps: one each where there are as many maps, all of them on a single map."""
    return [sizes] if levels == 1 else [(size,) for size in sizes[:levels]]


def grid_anchors(cells: Tensor, height: int, width: int, strides: tuple[int, int]) -> Tensor:
    """Anchors [H*W*A, 4] of a level of `height` x `width` cells, row by row, a cell's A together.

    Args:
        cells: [A, 4] from `cell_anchors`.
        height: H of the level's feature map.
        width: W of it.
        strides: input pixels a cell, (down, across).
    """
    y = torch.arange(height, dtype=cells.dtype, device=cells.device) * strides[0]
    x = torch.arange(width, dtype=cells.dtype, device=cells.device) * strides[1]
    grid_y = y[:, None].expand(height, width)
    grid_x = x[None, :].expand(height, width)
    shifts = torch.stack([grid_x, grid_y, grid_x, grid_y], dim=-1)
    return (shifts[:, :, None, :] + cells).reshape(-1, 4)  # (H, W, A, 4) -> (H*W*A, 4)
