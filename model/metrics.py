"""COCO's detection metrics: average precision and average recall.

Definitions: https://cocodataset.org/#detection-eval, with its names. AP is the mean over classes
and the ten IoU thresholds 0.50, 0.55 .. 0.95; AP50 and AP75 have one threshold; s, m and l count
objects of an area below 32^2, between, and above 96^2 pixels; ARd is the recall with at most d
detections an image (100 for s, m and l). faster-coco-eval computes the same precision and recall
arrays as pycocotools, in C++; the tests hold the two together.

A mean over nothing (no large object, a class without ground truth) is NaN here, where the COCO
tools say -1; classes without ground truth are in no mean. Crowds are neither found nor missed.

    T  IoU thresholds (10)     R  recall thresholds (101)     K  classes, by category id
    A  areas: all, s, m, l     M  detections an image: 1, 10, 100
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt
from faster_coco_eval import COCO, COCOeval_faster

_IOU_50, _IOU_75 = 0, 5  # places of 0.50 and 0.75 among the thresholds

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Metrics:
    """Figures in 0..1, or NaN where there is nothing to measure; the last three by class name."""

    AP: float
    AP50: float
    AP75: float
    APs: float
    APm: float
    APl: float
    AR1: float
    AR10: float
    AR100: float
    ARs: float
    ARm: float
    ARl: float
    ap_per_class: Mapping[str, float]
    ap50_per_class: Mapping[str, float]
    boxes_per_class: Mapping[str, int]

    def summary(self) -> dict[str, float]:
        """Return the twelve figures of the whole set, NaN included."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name.startswith("A")}

    def scalars(self) -> dict[str, float]:
        """Return all figures that are numbers, the classes' under `AP/<name>` and `AP50/<name>`."""
        values = self.summary()
        values |= {f"AP/{name}": value for name, value in self.ap_per_class.items()}
        values |= {f"AP50/{name}": value for name, value in self.ap50_per_class.items()}
        return {name: value for name, value in values.items() if not math.isnan(value)}

    def as_json(self) -> dict[str, Any]:
        """Return all figures as nested values fit for JSON, which has null for NaN."""
        classes = {
            name: {
                "AP": _or_none(self.ap_per_class[name]),
                "AP50": _or_none(self.ap50_per_class[name]),
                "boxes": boxes,
            }
            for name, boxes in self.boxes_per_class.items()
        }
        return {k: _or_none(v) for k, v in self.summary().items()} | {"classes": classes}


def coco_metrics(ground_truth: Mapping[str, Any], results: Sequence[Mapping[str, Any]]) -> Metrics:
    """Return the metrics of detections, of which there may be none.

    Args:
        ground_truth: a COCO document.
        results: COCO results: image_id, category_id, bbox (x, y, width, height), score.

    Raises:
        ValueError: a result is of an image or category that the ground truth does not have.
    """
    _check_references(ground_truth, results)
    truths = _with_annotations(ground_truth, ground_truth["annotations"])
    evaluation = COCOeval_faster(
        COCO(truths),
        COCO(_with_annotations(ground_truth, results)),
        iouType="bbox",
        print_function=_say_nothing,
    )
    evaluation.evaluate()
    evaluation.accumulate()
    names = {category["id"]: category["name"] for category in ground_truth["categories"]}
    boxes = Counter(a["category_id"] for a in truths["annotations"] if not a["iscrowd"])
    return _summarised(
        np.asarray(evaluation.eval["precision"]),
        np.asarray(evaluation.eval["recall"]),
        {names[number]: boxes[number] for number in sorted(names)},
    )


def format_table(metrics: Metrics) -> str:
    """Return the figures as a text table, in percent; `-` where there is nothing to measure."""
    summary = metrics.summary()
    lines = [
        "".join(f"{name:>7}" for name in summary),
        "".join(f"{_percent(value):>7}" for value in summary.values()),
        "",
    ]
    width = max(len(name) for name in ("class", *metrics.boxes_per_class))
    lines.append(f"{'class':<{width}}{'AP':>7}{'AP50':>7}{'boxes':>8}")
    lines += [
        f"{name:<{width}}{_percent(metrics.ap_per_class[name]):>7}"
        f"{_percent(metrics.ap50_per_class[name]):>7}{boxes:>8}"
        for name, boxes in metrics.boxes_per_class.items()
    ]
    return "\n".join(lines)


def _check_references(
    ground_truth: Mapping[str, Any], results: Sequence[Mapping[str, Any]]
) -> None:
    for key, section in (("image_id", "images"), ("category_id", "categories")):
        known = {entry["id"] for entry in ground_truth[section]}
        unknown = sorted({result[key] for result in results} - known)
        if unknown:
            raise ValueError(
                f"results with a {key} that is not in the ground truth: {unknown[:10]}"
            )


def _with_annotations(
    ground_truth: Mapping[str, Any], annotations: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Return a document of the ground truth's images and classes with these annotations.

    They are copies, because the evaluation writes into them, and are numbered from 1, because it
    takes an annotation with id 0 for one that was not found.
    """
    return {
        "images": ground_truth["images"],
        "categories": ground_truth["categories"],
        "annotations": [
            {"iscrowd": 0, "area": a["bbox"][2] * a["bbox"][3], **a, "id": number}
            for number, a in enumerate(annotations, start=1)
        ],
    }


def _summarised(precision: Floats, recall: Floats, boxes_per_class: Mapping[str, int]) -> Metrics:
    """Return the metrics of precision [T, R, K, A, M] and recall [T, K, A, M]."""
    everything, small, medium, large = range(4)  # A
    best = precision[..., -1]  # (T, R, K, A, M) -> (T, R, K, A): with 100 detections an image
    by_class = best[..., everything].transpose(2, 0, 1)  # (T, R, K) -> (K, T, R)
    return Metrics(
        AP=_mean(best[..., everything]),
        AP50=_mean(best[_IOU_50, ..., everything]),
        AP75=_mean(best[_IOU_75, ..., everything]),
        APs=_mean(best[..., small]),
        APm=_mean(best[..., medium]),
        APl=_mean(best[..., large]),
        AR1=_mean(recall[..., everything, 0]),
        AR10=_mean(recall[..., everything, 1]),
        AR100=_mean(recall[..., everything, 2]),
        ARs=_mean(recall[..., small, 2]),
        ARm=_mean(recall[..., medium, 2]),
        ARl=_mean(recall[..., large, 2]),
        ap_per_class=_named(boxes_per_class, by_class),
        ap50_per_class=_named(boxes_per_class, by_class[:, _IOU_50]),
        boxes_per_class=boxes_per_class,
    )


def _named(names: Mapping[str, int], by_class: Floats) -> dict[str, float]:
    return {name: _mean(values) for name, values in zip(names, by_class, strict=True)}


def _mean(values: Floats) -> float:
    """Return the mean over what there was to measure; the evaluation marks the rest with -1."""
    measured = values[values > -1]
    return float(measured.mean()) if measured.size else math.nan


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value


def _percent(value: float) -> str:
    return "-" if math.isnan(value) else f"{100 * value:.1f}"


def _say_nothing(*_: object) -> None:
    pass
