"""What was measured, as tables in Markdown."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import torch

from model.network.boxes import box_iou

NAMES = {
    "eager": "torchvision, eager",
    "compiled": "torchvision, torch.compile",
    "torchvision-onnx": "torchvision's ONNX, ONNX Runtime",
    "openvino": "torchvision's ONNX, OpenVINO float32",
    "openvino-bfloat16": "torchvision's ONNX, OpenVINO bfloat16",
    "float32": "ours, float32",
    "int8": "ours, int8",
}
BASELINE = "torchvision-onnx"

# Detections that the server would report by default, and the overlap at which two are the same.
LEAST_SCORE, SAME_IOU = 0.5, 0.75


@dataclass
class Measured:
    """Of one contender.

    Attributes:
        seconds: batch size -> a duration each round.
        peak_bytes: batch size -> the most memory held up to then, smaller batches before.
        found: its detections in the first photograph: boxes, labels, scores.
        failed: why it gave up; empty if it did not.
    """

    seconds: dict[int, list[float]] = field(default_factory=dict)
    peak_bytes: dict[int, int] = field(default_factory=dict)
    found: dict[str, list[Any]] = field(default_factory=dict)
    failed: str = ""


Results = Mapping[str, Measured]


def ratio(results: Results, kind: str, to: str, batch: int = 1) -> float | None:
    """The median seconds an image of `kind` at `batch`, over those of `to` at batch 1; None if either is not there."""
    one = _median_per_image(results, kind, batch)
    other = _median_per_image(results, to, 1)
    return None if one is None or other is None else one / other


def same_detections(expected: Mapping[str, list[Any]], got: Mapping[str, list[Any]]) -> float:
    """The share of `expected` detections of LEAST_SCORE that are among those `got`: same label, nearly same box.

    Not a number where none are expected.
    """
    certain = torch.tensor(expected["scores"]) >= LEAST_SCORE
    overlap = box_iou(*(torch.tensor(each["boxes"]).reshape(-1, 4) for each in (expected, got)))
    labels = [torch.tensor(each["labels"]) for each in (expected, got)]
    same = (overlap >= SAME_IOU) & (labels[0][:, None] == labels[1])
    return float(same.any(dim=1)[certain].float().mean())


def speed_table(results: Results) -> str:
    """Every contender at every batch size."""
    rows = []
    for kind, measured in results.items():
        if measured.failed:
            rows.append([NAMES[kind], measured.failed])
        for batch, seconds in measured.seconds.items():
            middle = median(seconds)
            relative = ratio(results, kind, BASELINE, batch)
            rows.append(
                [
                    NAMES[kind],
                    str(batch),
                    f"{middle:.3f}",
                    f"{min(seconds):.3f} to {max(seconds):.3f}",
                    f"{batch / middle:.2f}",
                    "" if relative is None else f"{relative:.2f}",
                    f"{measured.peak_bytes[batch] / 2**20:,.0f} MiB",
                    _sameness(results, measured) if batch == 1 else "",
                ]
            )
    heads = (
        "contender", "batch", "median s", "range s", "images/s", "time an image, of ONNX Runtime's",
        "peak memory", "finds eager's detections",
    )  # fmt: skip
    return table(heads, rows)


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; short rows are filled up."""
    filled = [[*row, *[""] * (len(heads) - len(row))] for row in rows]
    lines = [heads, ["---"] * len(heads), *filled]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _median_per_image(results: Results, kind: str, batch: int) -> float | None:
    seconds = results[kind].seconds.get(batch) if kind in results else None
    return median(seconds) / batch if seconds else None


def _sameness(results: Results, measured: Measured) -> str:
    eager = results.get("eager")
    if eager is None or not eager.found or not measured.found:
        return ""
    return f"{100 * same_detections(eager.found, measured.found):.0f} %"
