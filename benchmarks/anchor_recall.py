"""`python -m benchmarks.anchor_recall JSON IMAGES`: what the bare anchors of table 1's rows already cover.

The average recall, over IoU 0.50 to 0.95, of objects by the anchor that fits them best, clipped to the picture: what a
proposal head of those features would have if it ranked anchors as an oracle and moved none. Beside the recall that a
row reached in training it says how much of that is the grid's. Sizes are by the area of the box.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.summary import table
from model.config.files import load_config
from model.config.training import TrainConfig
from model.data.coco import CocoDataset
from model.data.transforms import scale_boxes
from model.network.boxes import box_iou, clip_boxes
from model.network.checkpoint import without_download
from model.network.detector import Detector
from model.study.__main__ import CONFIGS

THRESHOLDS = torch.arange(0.50, 0.96, 0.05)
SIZES = {
    "all": (0.0, np.inf),
    "small": (0.0, 32.0**2),
    "medium": (32.0**2, 96.0**2),
    "large": (96.0**2, np.inf),
}


def best_overlaps(config: TrainConfig, dataset: CocoDataset) -> tuple[Tensor, Tensor]:
    """Of every object that is no crowd: the IoU [G] with its best anchor, and its area [G] in the photograph."""
    detector = Detector(without_download(config.model), dataset.class_names)
    rule = config.model.resize
    overlaps, areas = [], []
    for record in dataset.records:
        boxes = torch.from_numpy(record.boxes)
        content = rule.content_size(record.size)
        frame = rule.bucket(content)
        maps = tuple(
            torch.empty((1, 0, *(-(-side // 2**level) for side in frame)))
            for level in detector.fpn.levels
        )
        anchors = torch.cat([grid.all() for grid in detector.anchors(maps)])
        anchors = clip_boxes(anchors[None], torch.tensor([content]))[0]
        if len(boxes):
            scaled = scale_boxes(boxes, record.size, content)
            overlaps.append(box_iou(scaled, anchors).amax(dim=1))
            areas.append((boxes[:, 2:] - boxes[:, :2]).prod(dim=1))
    return torch.cat(overlaps), torch.cat(areas)


def recall(overlaps: Tensor) -> float:
    """The mean over THRESHOLDS of the share of `overlaps` [G] that reach it; not a number of none."""
    return float((overlaps[:, None] >= THRESHOLDS).float().mean())


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status."""
    parser = argparse.ArgumentParser("python -m benchmarks.anchor_recall", description=__doc__)
    parser.add_argument("annotations", type=Path, metavar="JSON", help="of the pictures")
    parser.add_argument("images", type=Path, metavar="IMAGES", help="the folder of the pictures")
    options = parser.parse_args(arguments)
    dataset = CocoDataset.read(options.annotations, options.images)
    rows = []
    for row in "abcdef":
        overlaps, areas = best_overlaps(load_config(CONFIGS / f"table1{row}.toml"), dataset)
        by_size = [
            f"{100 * recall(overlaps[(areas >= low) & (areas < high)]):.1f}"
            for low, high in SIZES.values()
        ]
        rows.append([f"1{row}", *by_size])
    print(table(["recall of the best anchor, %", *SIZES], rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
