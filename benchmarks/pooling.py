"""RoIAlign over a pyramid in ONNX Runtime: level by level or on an atlas, in the order of scores or of the maps.

    python -m benchmarks.pooling [--batches 1 2 4 8] [--counts 300 1000] [--model MODEL]

In every round each layout (benchmarks/layouts.py) runs once on the same maps and proposals. The layouts'
features are compared first. `python -m benchmarks.orders` compares more orders.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.layouts import ATLAS_ALONE, CONFIG, LAYOUTS, MAPS, Atlas, map_size, trace_layout
from benchmarks.rounds import Graph, as_feed, take_turns
from benchmarks.scenes import model_boxes, synthetic_boxes
from export.runtime import onnxruntime as ort
from model.config.resize import Size
from model.network.pooling import POOLED_LEVELS, assign_levels

PHOTOGRAPH = Path("docs/cat.png")
PREDICTIONS = 81 + 4 * 80  # numbers that the head gives of a region, for COCO's classes

# Of features that are N(0, 1): an atlas's coordinates are larger, so that float32 resolves them less finely.
TOLERANCE = 1e-3


def proposals(
    model: Path | None, photograph: Path, images: int, count: int, frame: Size
) -> tuple[Tensor, Tensor]:
    """Boxes [M, 4] of all images and int64 [M], whose each is; a model's are the same in every image."""
    if model is None:
        boxes = synthetic_boxes("crowded", images, count, frame)
        mixed = torch.randperm(count, generator=torch.Generator().manual_seed(1))
        boxes = boxes[:, mixed]
    else:
        boxes = model_boxes(model, photograph, count, frame).expand(images, -1, 4)
    owners = torch.arange(images)[:, None].expand(boxes.shape[:2])
    return boxes.flatten(0, 1), owners.flatten()


def largest_difference(graphs: Mapping[str, Graph], feed: Mapping[str, ort.OrtValue]) -> float:
    """Of the features of any graph from the first's, box by box."""
    first, *others = graphs.values()
    expected, place = (each.numpy() for each in first.run(feed)[:2])
    expected = expected[place]
    largest = 0.0
    for other in others:
        pooled, place = (each.numpy() for each in other.run(feed)[:2])
        largest = max(largest, float(np.abs(pooled[place] - expected).max()))
    return largest


def inputs(
    boxes: Tensor, owners: Tensor, channels: int, frame: Size, seed: int = 0
) -> dict[str, Tensor]:
    """What every layout takes, with noise for maps and predictions."""
    generator = torch.Generator().manual_seed(seed)
    images = int(owners.max()) + 1
    maps = {
        name: torch.randn((images, channels, *map_size(frame, level)), generator=generator)
        for name, level in zip(MAPS, POOLED_LEVELS, strict=True)
    }
    predictions = torch.randn((len(boxes), PREDICTIONS), generator=generator)
    return {**maps, "boxes": boxes, "images": owners, "predictions": predictions}


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 1 if features differ by more than the tolerance."""
    options = _parser().parse_args(arguments)
    frame = (options.frame[0], options.frame[1])
    graphs = {
        name: Graph(trace_layout(layout, frame, options.channels))
        for name, layout in {**LAYOUTS, ATLAS_ALONE: Atlas()}.items()
    }
    print(f"frame {frame}, {options.channels} channels, {options.rounds} rounds\n")
    worst = 0.0
    for images in options.batches:
        for count in options.counts:
            boxes, owners = proposals(options.model, options.photograph, images, count, frame)
            levels = torch.bincount(assign_levels(boxes, CONFIG), minlength=6)[2:].tolist()
            feed = as_feed(inputs(boxes, owners, options.channels, frame))
            compared = {name: graph for name, graph in graphs.items() if name != ATLAS_ALONE}
            difference = largest_difference(compared, feed)
            worst = max(worst, difference)
            print(
                f"batch {images}, {len(boxes) // images} proposals an image, {levels} on P2 to P5"
            )
            print(f"largest difference {difference:.1e} (tolerance {TOLERANCE:.0e})\n")
            print("| layout | median, ms | ratio |\n|---|---|---|")
            times = take_turns(graphs, dict.fromkeys(graphs, feed), options.rounds)
            base = next(iter(times.values()))
            for name, each in times.items():
                print(f"| {name} | {1000 * each.median_s:.1f} | {each.ratio(base):.2f} |")
            print(flush=True)
    return int(worst > TOLERANCE)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m benchmarks.pooling", description=__doc__)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 2, 4, 8], metavar="N")
    parser.add_argument("--counts", type=int, nargs="+", default=[300, 1000], metavar="M")
    parser.add_argument("--frame", type=int, nargs=2, default=[800, 1088], metavar=("H", "W"))
    parser.add_argument("--channels", type=int, default=256)
    parser.add_argument("--model", type=Path, help="whose proposals; synthetic ones otherwise")
    parser.add_argument("--photograph", type=Path, default=PHOTOGRAPH)
    parser.add_argument("--rounds", type=int, default=5)
    return parser


if __name__ == "__main__":
    sys.exit(main())
