"""RoIAlign of one map's regions in several orders: what the cache makes of each.

python -m benchmarks.orders [--model MODEL]
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from benchmarks.layouts import CONFIG, map_size
from benchmarks.pooling import PHOTOGRAPH, proposals
from benchmarks.rounds import Array, as_feed, graph_of, take_turns
from model.network.pooling import POOLED_LEVELS, assign_levels

LEVEL = POOLED_LEVELS[0]  # the finest map is the largest, and most proposals are pooled from it

ROI_ALIGN = """
(float[N, d, h, w] features, float[M, 4] boxes, int64[M] images) => (float[M, d, S, S] pooled) {{
    pooled = RoiAlign <output_height = {size}, output_width = {size}, sampling_ratio = {samples},
        spatial_scale = {scale}> (features, boxes, images)
}}
"""


def orders(boxes: Array, stride: int, seed: int = 0) -> dict[str, Array]:
    """Orders, by name, of `boxes` [M, 4] in pixels; bands are in cells of the map."""
    cells = (boxes[:, :2] + boxes[:, 2:]) / 2 / stride
    x, y = cells.T
    found = {
        "as they come, best first": np.arange(len(boxes)),
        "random": np.random.default_rng(seed).permutation(len(boxes)),
        "rows": np.argsort(y),
    }
    for band in (2, 4, 8, 16, 32):
        found[f"bands of {band} cells"] = np.lexsort((x, y // band))
    row = y // 16
    found["bands of 16 cells, there and back"] = np.lexsort((np.where(row % 2, -x, x), row))
    found["Morton, 4 cells"] = np.argsort(_morton(cells.astype(np.int64) // 4))
    return found


def _morton(cells: Array) -> Array:
    """The bits of x and y [M, 2] in turn."""
    bits = np.arange(12)
    x, y = ((cells[:, axis, None] >> bits & 1) << 2 * bits for axis in (0, 1))
    keys: Array = (x | y << 1).sum(axis=1)
    return keys


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status."""
    parser = argparse.ArgumentParser("python -m benchmarks.orders", description=__doc__)
    parser.add_argument("--frame", type=int, nargs=2, default=[800, 1088], metavar=("H", "W"))
    parser.add_argument("--channels", type=int, default=256)
    parser.add_argument("--model", type=Path, help="whose proposals; synthetic ones otherwise")
    parser.add_argument("--photograph", type=Path, default=PHOTOGRAPH)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args(arguments)
    frame = (options.frame[0], options.frame[1])
    every, _ = proposals(options.model, options.photograph, 1, 1000, frame)
    boxes = every[assign_levels(every, CONFIG) == LEVEL].numpy()
    text = ROI_ALIGN.format(
        size=CONFIG.resolution, samples=CONFIG.sampling_ratio, scale=2.0**-LEVEL
    )
    shared: dict[str, Array | torch.Tensor] = {
        "features": torch.randn((1, options.channels, *map_size(frame, LEVEL))),
        "images": np.zeros(len(boxes), np.int64),
    }
    by_order = orders(boxes, 2**LEVEL)
    feeds = {name: as_feed({**shared, "boxes": boxes[order]}) for name, order in by_order.items()}
    times = take_turns(dict.fromkeys(feeds, graph_of(text)), feeds, options.rounds)
    print(f"{len(boxes)} of {len(every)} proposals, on P{LEVEL}, {options.rounds} rounds\n")
    print("| order | median, ms | ratio |\n|---|---|---|")
    base = next(iter(times.values()))
    for name, each in times.items():
        print(f"| {name} | {1000 * each.median_s:.1f} | {each.ratio(base):.2f} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
