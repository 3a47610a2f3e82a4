"""Anchors: one scale a pyramid level, several ratios (section 4.1 of the FPN paper).

Areas of 32^2, 64^2, 128^2, 256^2 and 512^2 pixels on P2..P6, ratios 1:2, 1:1 and 2:1; a single map has all
five, and so may each of several. An anchor is centred on its cell's top-left corner, as in torchvision and Detectron2.

Legend
    A   anchors a cell (scales x ratios)
    H W cells of a level
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from model.config.detector import AnchorConfig


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


def sizes_by_level(config: AnchorConfig, levels: int) -> list[tuple[float, ...]]:
    """The scales of each of `levels` maps: one each, or all of them on a single map and where maps share them."""
    if levels == 1 or config.shared:
        return [config.sizes] * levels
    return [(size,) for size in config.sizes]


@dataclass(frozen=True)
class AnchorGrid:
    """The anchors of a level: H*W*A, row by row, a cell's A together.

    Attributes:
        cells: [A, 4] from `cell_anchors`.
        height: H of the level's feature map.
        width: W of it.
        strides: input pixels a cell, (down, across).
    """

    cells: Tensor
    height: int
    width: int
    strides: tuple[int, int]

    @property
    def count(self) -> int:
        """H*W*A."""
        return self.height * self.width * self.cells.shape[0]

    def all(self) -> Tensor:
        """All of them, [H*W*A, 4]."""
        down, across = self.strides
        y = torch.arange(self.height, dtype=self.cells.dtype, device=self.cells.device) * down
        x = torch.arange(self.width, dtype=self.cells.dtype, device=self.cells.device) * across
        grid_y = y[:, None].expand(self.height, self.width)
        grid_x = x[None, :].expand(self.height, self.width)
        shifts = torch.stack([grid_x, grid_y, grid_x, grid_y], dim=-1)
        return (shifts[:, :, None, :] + self.cells).reshape(-1, 4)  # (H, W, A, 4) -> (H*W*A, 4)


def anchors_at(grids: Sequence[AnchorGrid], places: Tensor) -> Tensor:
    """The anchors [N, L, K, 4] at `places` int64 [N, L, K] of L `grids`: of level l, `grids[l].all()[places[:, l]]`.

    None but those are made, and those of all levels at once: on an input of 800 x 1088 a pyramid has 217,413.
    """
    kinds = len(grids[0].cells)
    cells = torch.cat([grid.cells for grid in grids])  # (L*A, 4)
    # new_full, for a tensor made of a list would hold the sizes of the frame that an exporter traces with
    widths = torch.cat([places.new_full((1,), grid.width) for grid in grids])[:, None]  # (L, 1)
    down = torch.cat([places.new_full((1,), grid.strides[0]) for grid in grids])
    across = torch.cat([places.new_full((1,), grid.strides[1]) for grid in grids])
    strides = torch.stack([across, down], dim=1)  # (L, 2): x, y
    first = torch.arange(len(grids), device=places.device)[:, None] * kinds  # (L, 1)
    cell = _quotient(places, kinds)
    row = _quotient(cell, widths)
    steps = torch.stack([cell - row * widths, row], dim=-1)  # (N, L, K, 2): columns, rows
    shifts = (steps * strides[:, None]).to(cells.dtype)
    return torch.cat([shifts, shifts], dim=-1) + cells[places - cell * kinds + first]


def _quotient(dividend: Tensor, divisor: Tensor | int) -> Tensor:
    # ONNX's exporter divides integers in float32, which cannot tell all places of a large map apart
    quotient: Tensor = torch.floor(dividend.double() / divisor)
    return quotient.to(torch.int64)
