"""Boxes, configurations and a data set small enough that a test of the whole takes a second."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from model.config.files import from_mapping
from model.config.training import TrainConfig

# Classes that a network tells apart at once: each is a rectangle of one colour.
COLOURS = {"red": (220, 40, 40), "green": (40, 200, 60), "blue": (40, 60, 220)}

# Of P2 to P6.
STRIDES = (4, 8, 16, 32, 64)


def random_boxes(count: int, size: tuple[int, int], seed: int, least: float = 1.0) -> Tensor:
    """Boxes [count, 4] within `size` (height, width), with sides of at least `least`."""
    generator = torch.Generator().manual_seed(seed)
    extent = torch.tensor([size[1], size[0]], dtype=torch.float32)
    sides = least + torch.rand((count, 2), generator=generator) * (extent / 2 - least)
    corner = torch.rand((count, 2), generator=generator) * (extent - sides)
    return torch.cat([corner, corner + sides], dim=1)


def coloured_rectangles(root: Path, count: int) -> None:
    """Write `count` images of 64 x 96 or 96 x 64 with one to three rectangles, and train.json."""
    rng = np.random.default_rng(5)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number in range(1, count + 1):
        height, width = (64, 96) if number % 3 else (96, 64)
        pixels = rng.integers(90, 140, (height, width, 3), dtype=np.uint8)
        for _ in range(int(rng.integers(1, 4))):
            w, h = int(rng.integers(16, 40)), int(rng.integers(16, 40))
            x, y = int(rng.integers(0, width - w)), int(rng.integers(0, height - h))
            label = int(rng.integers(0, 3))
            pixels[y : y + h, x : x + w] = list(COLOURS.values())[label]
            box = {"id": len(annotations) + 1, "image_id": number, "category_id": label + 1}
            annotations.append(box | {"bbox": [x, y, w, h], "area": w * h, "iscrowd": 0})
        name = f"{number:03}.png"
        Image.fromarray(pixels).save(root / name)
        images.append({"id": number, "file_name": name, "height": height, "width": width})
    categories = [{"id": label + 1, "name": name} for label, name in enumerate(COLOURS)]
    document = {"images": images, "annotations": annotations, "categories": categories}
    (root / "train.json").write_text(json.dumps(document))


def run_values(root: Path, steps: int) -> dict[str, Any]:
    """The configuration, as plain values, of a run of `steps` on `coloured_rectangles`."""
    return {
        "name": "rectangles",
        "data": {"root": str(root), "train_annotations": "train.json", "train_images": "."},
        "model": {
            "resize": {"short_side": 64, "max_side": 96},
            "backbone": {"name": "resnet18", "weights": "none", "frozen_stages": 0},
            "pyramid": {"channels": 16},
            "anchors": {"sizes": [8, 16, 32, 64, 128]},
            "rpn": {
                "batch_per_image": 64,
                "pre_nms_train": 60,
                "post_nms_train": 60,
                "pre_nms_test": 30,
                "post_nms_test": 30,
            },
            "roi": {"fc_channels": 32, "batch_per_image": 32},
        },
        "schedule": {
            "batch_size": 4,
            "steps": steps,
            "learning_rate": 0.08,  # for 16 images: 0.02 for these
            "warmup_steps": min(1, steps - 1),
            "warmup_factor": 0.1,
            "decay_steps": [],
            "clip_norm": 5.0,
        },
        "seed": 3,
        "precision": "float32",
        "checkpoint_every": 0,
        "report": False,
    }


def run_config(root: Path, steps: int, **changes: object) -> TrainConfig:
    """The configuration of `run_values`, with top-level `changes`."""
    return from_mapping(TrainConfig, run_values(root, steps) | changes, "test")
