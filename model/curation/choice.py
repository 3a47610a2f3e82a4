"""A run chosen for a data set: network, sizes, anchors and steps, as the values of a configuration.

What the numbers come from: the recipes that were measured (docs/results.md). A CPU gets the default model's network, a
GPU the paper's; both see the photographs as large as these are, up to what that network was measured at, and larger
where the objects would be too small.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from model.config.resize import ResizeRule
from model.curation.anchors import fitted
from model.data.coco import CocoDataset
from model.data.transforms import scale_boxes

# Photographs seen in training: so often each, but not fewer and not more than.
SEEN, FEWEST, MOST = 20, 1_600, 720_000
# An object is seen well from this side on, in pixels of the network's input: C3's stride, twice.
LEAST_SIDE = 16
STEP = 32  # sides are multiples of it


@dataclass(frozen=True)
class Choice:
    """The values of a configuration, but for its data, and a line on each thing that was chosen."""

    values: dict[str, Any]
    reasons: tuple[str, ...]


def chosen(training: CocoDataset, *, gpu: bool) -> Choice:
    """The run for a data set."""
    short_side, why_size = _short_side(training, gpu)
    rule = ResizeRule(short_side, short_side * 9 // 5)
    fit = fitted(_boxes_seen(training, rule))
    batch = 16 if gpu else 4 if len(training) < 1000 else 8
    steps = min(max(SEEN * len(training), FEWEST), MOST) // batch
    values: dict[str, Any] = {
        "data": {"short_sides": sorted({_rounded(short_side * part) for part in (0.8, 0.9, 1.0)})},
        "model": {
            "resize": {"short_side": short_side, "max_side": rule.max_side},
            "anchors": {"sizes": list(fit.sizes), "ratios": list(fit.ratios)},
            **_network(gpu),
        },
        "schedule": {
            "batch_size": batch,
            "steps": steps,
            "warmup_steps": min(500, steps // 6),
            "warmup_factor": 0.01,
            "decay_steps": [steps * 3 // 4, steps * 11 // 12],
            "clip_norm": 10.0,
        },
        "eval_every": max(1, steps // 5),
        "checkpoint_every": max(1, steps // 20),
    }
    reasons = (
        f"network: {values['model']['backbone']['name']}, for a {'GPU' if gpu else 'CPU'}",
        why_size,
        f"anchors: {', '.join(f'{size:g}' for size in fit.sizes)} of the ratios"
        f" {', '.join(f'{ratio:.2g}' for ratio in fit.ratios)}: boxes overlap the best by {fit.overlap:.2f} on average"
        f" ({fit.default:.2f} with the paper's)",
        f"steps: {steps} of {batch} photographs, {steps * batch / len(training):.0f} times each of {len(training)}",
    )
    return Choice(values, reasons)


def _network(gpu: bool) -> dict[str, Any]:
    if gpu:
        return {"backbone": {"name": "resnet50", "weights": "hub"}}
    return {
        "backbone": {"name": "mobilenet_v2", "weights": "hub"},
        "pyramid": {"channels": 128},
        "rpn": {
            "pre_nms_train": 500,
            "post_nms_train": 500,
            "pre_nms_test": 300,
            "post_nms_test": 100,
        },
        "roi": {"fc_channels": 512, "batch_per_image": 64, "max_candidates": 500},
    }


def _short_side(training: CocoDataset, gpu: bool) -> tuple[int, str]:
    usual, most = (800, 1024) if gpu else (320, 512)
    shorter = np.array([min(record.size) for record in training.records])
    own = float(np.median(shorter))
    sides = np.concatenate(
        [
            np.sqrt((r.boxes[:, 2:] - r.boxes[:, :2]).prod(axis=1)) / min(r.size)
            for r in training.records
        ]
    )
    small = float(np.quantile(sides, 0.1))  # of the shorter side
    wanted = min(max(usual, LEAST_SIDE / small), most, max(own, STEP))
    side = max(STEP, _rounded(wanted))
    return side, (
        f"size: the shorter side becomes {side}; photographs have {own:.0f}, and a tenth of the objects is smaller than"
        f" {small * side:.0f} pixels there"
    )


def _boxes_seen(training: CocoDataset, rule: ResizeRule) -> npt.NDArray[np.float32]:
    """All boxes in pixels of the network's input."""
    seen = [
        scale_boxes(torch.from_numpy(r.boxes), r.size, rule.content_size(r.size)).numpy()
        for r in training.records
    ]
    return np.concatenate(seen)


def _rounded(side: float) -> int:
    return max(STEP, round(side / STEP) * STEP)
