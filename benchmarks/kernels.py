"""RoIAlign of one map by other operators: is there a quicker way to the same features?

python -m benchmarks.kernels [--any-size] [--model MODEL]

The boxes are those proposals of the finest map that fit into a window of 16 x 16 cells, in reading order; with
--any-size all of that map, and no windows. What the others need beside the map and the boxes (grids, windows, weights,
the map with its channels last) is made beforehand and not timed, to their advantage.

Legend
    M   boxes           d   channels            h w   cells of the map (n in all)
    S   bins a side     k   cells of a window   l     cells of a window's side
    R C   rows and columns of all boxes' samples
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from benchmarks.layouts import CONFIG, map_size
from benchmarks.orders import LEVEL, ROI_ALIGN
from benchmarks.pooling import PHOTOGRAPH, TOLERANCE, proposals
from benchmarks.rounds import Array, Graph, as_feed, graph_of, take_turns
from model.config.resize import Size
from model.network.pooling import Regions, assign_levels, reading_order

WINDOW = 16  # cells
GROUPS = (2, 4, 8)
SIDE, SAMPLES = CONFIG.resolution, CONFIG.sampling_ratio

GRID_SAMPLE = """
(float[1, d, h, w] features, float[1, R, C, 2] grid) => (float[1, d, R, C] pooled) {{
    samples = GridSample <mode = "bilinear", padding_mode = "border", align_corners = 0> (features, grid)
    pooled = AveragePool <kernel_shape = [{samples}, {samples}], strides = [{samples}, {samples}]> (samples)
}}
"""
WINDOWS = """
(float[n, d] cells, int64[M, k] windows, float[M, S, k] weights) => (float[M, S, d] pooled) {{
    seen = Gather (cells, windows)
    pooled = MatMul (weights, seen)
}}
"""
WINDOWS_BY_AXIS = """
(float[n, d] cells, int64[M, k] windows, float[M, S, l] down, float[M, 1, S, l] across, int64[3] rows, int64[4] columns)
=> (float[M, S, S, d] pooled) {{
    seen = Gather (cells, windows)
    by_row = Reshape (seen, rows)
    bands = MatMul (down, by_row)
    by_column = Reshape (bands, columns)
    pooled = MatMul (across, by_column)
}}
"""


def pooled_here(boxes: torch.Tensor) -> torch.Tensor:
    """Those of `boxes` [*, 4], in pixels, that are pooled from LEVEL, in reading order."""
    kept = boxes[assign_levels(boxes, CONFIG) == LEVEL]
    none = torch.zeros(len(kept), dtype=torch.int64)
    return kept[reading_order(Regions(kept, none, none + LEVEL))]


def fitting(boxes: torch.Tensor) -> torch.Tensor:
    """Those of `boxes` [*, 4] that fit a window."""
    sides = (boxes[:, 2:] - boxes[:, :2]) / 2**LEVEL
    # the outermost samples lie half a step inside; a cell more on each side takes part in the interpolation
    return boxes[sides.amax(dim=1) <= WINDOW - 2]


Contenders = dict[str, tuple[Graph, dict[str, Array]]]


def contenders(boxes: Array, features: Array) -> Contenders:
    """Graphs and what they take, by name, for boxes of any size; RoIAlign itself comes first."""
    _, channels, height, width = features.shape
    align = _graph(ROI_ALIGN)
    found: Contenders = {}
    for groups in (1, *GROUPS):
        name = "RoiAlign" if groups == 1 else f"RoiAlign, {groups} groups of channels as images"
        grouped = features.reshape(groups, channels // groups, height, width)
        owners = np.repeat(np.arange(groups), len(boxes))
        taken = {"features": grouped, "boxes": np.tile(boxes, (groups, 1)), "images": owners}
        found[name] = align, taken
    grid = _grid(_points(boxes, (height, width)), (height, width))
    taken = {"features": features, "grid": grid}
    found["GridSample and AveragePool"] = _graph(GRID_SAMPLE), taken
    return found


def windowed(boxes: Array, features: Array) -> Contenders:
    """More of them, for boxes that fit a window."""
    _, channels, height, width = features.shape
    first, weights = _windows(_points(boxes, (height, width)))
    rows, columns = (
        np.minimum(first[:, axis, None] + np.arange(WINDOW), side - 1)
        for axis, side in ((0, height), (1, width))
    )
    shared = {
        "cells": np.ascontiguousarray(features[0].reshape(channels, -1).T),
        "windows": (rows[:, :, None] * width + columns[:, None, :]).reshape(len(boxes), -1),
    }
    both = np.einsum("myh,mxw->myxhw", weights[:, 0], weights[:, 1])
    by_axis = {
        "down": weights[:, 0],
        "across": weights[:, 1][:, None],
        "rows": np.array([len(boxes), WINDOW, WINDOW * channels]),
        "columns": np.array([len(boxes), SIDE, WINDOW, channels]),
    }
    return {
        "Gather of windows, one MatMul": (
            _graph(WINDOWS),
            {**shared, "weights": both.reshape(len(boxes), SIDE**2, -1)},
        ),
        "Gather of windows, a MatMul for each axis": (
            _graph(WINDOWS_BY_AXIS),
            {**shared, **by_axis},
        ),
    }


def as_roi_align(pooled: Array, channels: int) -> Array:
    """What any of the contenders gives, as [M, d, S, S]."""
    if pooled.ndim == 4 and pooled.shape[0] == 1:  # GridSample: [1, d, M * S, S]
        return pooled.reshape(channels, -1, SIDE, SIDE).transpose(1, 0, 2, 3)
    if pooled.shape[-1] == channels:  # channels last
        return pooled.reshape(-1, SIDE, SIDE, channels).transpose(0, 3, 1, 2)
    groups = channels // pooled.shape[1]
    by_group = pooled.reshape(groups, -1, pooled.shape[1], SIDE, SIDE)
    return by_group.transpose(1, 0, 2, 3, 4).reshape(-1, channels, SIDE, SIDE)


def _graph(text: str) -> Graph:
    return graph_of(text.format(size=SIDE, samples=SAMPLES, scale=2.0**-LEVEL))


def _points(boxes: Array, map_sides: Size) -> Array:
    """Where each box is sampled, in cells [M, 2, S * samples], down and across, held to the map's cells."""
    step = (np.arange(SIDE * SAMPLES) + 0.5) / (SIDE * SAMPLES)
    low, high = (boxes[:, corner] / 2**LEVEL - 0.5 for corner in ([1, 0], [3, 2]))
    points = low[..., None] + step * (high - low)[..., None]
    held: Array = np.clip(points, 0, np.array(map_sides)[:, None] - 1)
    return held


def _grid(points: Array, map_sides: Size) -> Array:
    """`points` as GridSample takes them, float32 [1, M * S * samples, S * samples, 2]: x, y in -1..1."""
    y, x = (
        (2 * points[:, axis] + 1) / side - 1 for axis, side in enumerate(map_sides)
    )  # (M, S * samples)
    shape = (len(points), points.shape[2], points.shape[2])
    pairs = [np.broadcast_to(x[:, None, :], shape), np.broadcast_to(y[:, :, None], shape)]
    return np.stack(pairs, axis=-1).reshape(1, -1, points.shape[2], 2).astype(np.float32)


def _windows(points: Array) -> tuple[Array, Array]:
    """The first cell of each box's window, int64 [M, 2], and what each cell counts, float32 [M, 2, S, WINDOW]."""
    first = np.floor(points.min(axis=2)).astype(np.int64)
    away = points[..., None] - (first[..., None] + np.arange(WINDOW))[:, :, None, :]
    weights = np.maximum(0, 1 - np.abs(away))  # bilinear interpolation, as a hat around each sample
    by_bin = weights.reshape(*points.shape[:2], SIDE, SAMPLES, WINDOW).mean(axis=3)
    return first, by_bin.astype(np.float32)


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 1 if features differ by more than the tolerance."""
    parser = argparse.ArgumentParser("python -m benchmarks.kernels", description=__doc__)
    parser.add_argument("--frame", type=int, nargs=2, default=[800, 1088], metavar=("H", "W"))
    parser.add_argument("--channels", type=int, default=256)
    parser.add_argument("--any-size", action="store_true", help="boxes of any size, no windows")
    parser.add_argument("--model", type=Path, help="whose proposals; synthetic ones otherwise")
    parser.add_argument("--photograph", type=Path, default=PHOTOGRAPH)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args(arguments)
    frame = (options.frame[0], options.frame[1])
    here = pooled_here(proposals(options.model, options.photograph, 1, 1000, frame)[0])
    boxes = (here if options.any_size else fitting(here)).numpy()
    features = torch.randn((1, options.channels, *map_size(frame, LEVEL))).numpy()
    made = contenders(boxes, features)
    if not options.any_size:
        made |= windowed(boxes, features)
    feeds = {name: as_feed(arrays) for name, (_, arrays) in made.items()}
    graphs = {name: each for name, (each, _) in made.items()}
    results = {
        name: as_roi_align(each.run(feeds[name])[0].numpy(), options.channels)
        for name, each in graphs.items()
    }
    expected = results["RoiAlign"]
    worst = max(float(np.abs(each - expected).max()) for each in results.values())
    print(f"{len(boxes)} boxes on P{LEVEL}, {options.channels} channels, {options.rounds} rounds,")
    print(f"largest difference {worst:.1e} (tolerance {TOLERANCE:.0e})\n")
    print("| operators | median, ms | ratio |\n|---|---|---|")
    times = take_turns(graphs, feeds, options.rounds)
    for name, each in times.items():
        print(f"| {name} | {1000 * each.median_s:.1f} | {each.ratio(times['RoiAlign']):.2f} |")
    return int(worst > TOLERANCE)


if __name__ == "__main__":
    sys.exit(main())
