"""Three ways to pool regions from a pyramid, as ONNX graphs.

Each takes p2..p5 float32 [N, d, H / stride, W / stride], boxes float32 [M, 4], images int64 [M] and predictions
float32 [M, P], which stand for what the head makes of the features. Each gives the features [M, d, S, S], the rows
in which the boxes lie, int64 [M], and, where the features have another order than the boxes, the predictions put in
the order of the boxes.

Legend: see model/network/roi.py.
"""

import warnings

import onnx
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import roi_align

from export.graph import OPSET
from model.config.detector import RoiConfig
from model.config.resize import Size
from model.network.pooling import (
    POOLED_LEVELS,
    Regions,
    assign_levels,
    pool_in_reading_order,
    reading_order,
)

MAPS = tuple(f"p{level}" for level in POOLED_LEVELS)
CONFIG = RoiConfig()
# Samples of a box inside the frame reach half a cell past a map, where RoIAlign repeats the edge; one cell holds them.
GUTTER = 1

Pooled = tuple[Tensor, ...]


class Scattered(nn.Module):
    """One call a level on the boxes that it is given; the features are written back to the boxes' own rows."""

    def forward(self, *maps: Tensor, boxes: Tensor, images: Tensor, predictions: Tensor) -> Pooled:
        """See the module."""
        assigned = assign_levels(boxes, CONFIG)
        regions = torch.cat([images.to(boxes.dtype)[:, None], boxes], dim=1)  # (M, 5)
        side = CONFIG.resolution
        pooled = boxes.new_zeros((boxes.shape[0], maps[0].shape[1], side, side))
        for level, features in zip(POOLED_LEVELS, maps, strict=True):
            chosen = torch.nonzero(assigned == level).squeeze(1)
            pooled = pooled.index_copy(0, chosen, _align(features, regions[chosen], 2**-level))
        return pooled, torch.arange(boxes.shape[0])


class InReadingOrder(nn.Module):
    """One call a level on boxes in reading order; the features stay in it. The detector's own code."""

    def forward(self, *maps: Tensor, boxes: Tensor, images: Tensor, predictions: Tensor) -> Pooled:
        """See the module."""
        pooled, order = pool_in_reading_order(
            maps, Regions(boxes, images, assign_levels(boxes, CONFIG)), CONFIG
        )
        place = order.argsort()
        return pooled, place, predictions[place]


class FromAtlas(nn.Module):
    """One call on an atlas of the levels, with the boxes as they come or in reading order."""

    def __init__(self, ordered: bool) -> None:
        super().__init__()
        self.ordered = ordered

    def forward(self, *maps: Tensor, boxes: Tensor, images: Tensor, predictions: Tensor) -> Pooled:
        """See the module."""
        assigned = assign_levels(boxes, CONFIG)
        place = torch.arange(boxes.shape[0])
        if self.ordered:
            order = reading_order(Regions(boxes, images, assigned))
            boxes, images, assigned = boxes[order], images[order], assigned[order]
            place = order.argsort()
        shift = _corners(maps)[assigned - POOLED_LEVELS[0]]  # (M, 4)
        cells = boxes * torch.exp2(-assigned.to(boxes.dtype))[:, None] + shift
        regions = torch.cat([images.to(boxes.dtype)[:, None], cells], dim=1)  # (M, 5)
        pooled = _align(atlas(maps), regions, 1.0)
        return (pooled, place, predictions[place]) if self.ordered else (pooled, place)


class Atlas(nn.Module):
    """The atlas alone."""

    def forward(
        self, *maps: Tensor, boxes: Tensor, images: Tensor, predictions: Tensor
    ) -> tuple[Tensor]:
        """The atlas of `maps`; the rest is not looked at."""
        return (atlas(maps),)


LAYOUTS: dict[str, nn.Module] = {
    "level by level, scattered back": Scattered(),
    "level by level, reading order": InReadingOrder(),
    "atlas, as they come": FromAtlas(ordered=False),
    "atlas, reading order": FromAtlas(ordered=True),
}
ATLAS_ALONE = "the atlas alone"


def atlas(maps: tuple[Tensor, ...]) -> Tensor:
    """One map [N, d, h, w] of all levels: the finest at the left, the others below each other at its right.

    Each has a gutter that repeats its edge.
    """
    finest, *others = (F.pad(each, (GUTTER,) * 4, mode="replicate") for each in maps)
    width = others[0].shape[3]
    column = torch.cat([F.pad(each, (0, width - each.shape[3])) for each in others], dim=2)
    column = F.pad(column, (0, 0, 0, finest.shape[2] - column.shape[2]))
    return torch.cat([finest, column], dim=3)


def trace_layout(layout: nn.Module, frame: Size, channels: int) -> onnx.ModelProto:
    """The graph of `layout` for maps of `frame`, for any N and M."""
    maps = tuple(torch.zeros((2, channels, *map_size(frame, level))) for level in POOLED_LEVELS)
    M = 5
    rest = {
        "boxes": torch.tensor([[0.0, 0.0, 20.0, 30.0]]).expand(M, 4).clone(),
        "images": torch.arange(M) % 2,
        "predictions": torch.zeros((M, 7)),
    }
    # without an end the tracer's checks of products pass int64
    batch, regions, width = (torch.export.Dim(name, max=2**16) for name in ("N", "M", "P"))
    shapes = {"boxes": {0: regions}, "images": {0: regions}, "predictions": {0: regions, 1: width}}
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the exporter's own deprecations
        program = torch.onnx.export(
            layout,
            maps,
            kwargs=rest,
            dynamo=True,
            verbose=False,
            opset_version=OPSET,
            input_names=[*MAPS, *rest],
            dynamic_shapes={"maps": tuple({0: batch} for _ in maps), **shapes},
        )
    assert program is not None
    model: onnx.ModelProto = program.model_proto
    return model


def map_size(frame: Size, level: int) -> Size:
    """Height and width of a level's map."""
    return frame[0] // 2**level, frame[1] // 2**level


def _corners(maps: tuple[Tensor, ...]) -> Tensor:
    """Where in the atlas each level begins, as a shift [levels, 4] of xyxy."""
    left = GUTTER + maps[0].shape[3] + 2 * GUTTER
    corners, top = [(GUTTER, GUTTER)], GUTTER
    for each in maps[1:]:
        corners.append((left, top))
        top += each.shape[2] + 2 * GUTTER
    return torch.tensor([(x, y, x, y) for x, y in corners], dtype=torch.float32)


def _align(features: Tensor, regions: Tensor, scale: float) -> Tensor:
    samples: Tensor = roi_align(
        features, regions, CONFIG.resolution, scale, CONFIG.sampling_ratio, CONFIG.aligned
    )
    return samples
