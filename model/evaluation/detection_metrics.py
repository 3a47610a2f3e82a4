"""COCO's detection metrics: average precision and average recall.

Definitions: https://cocodataset.org/#detection-eval, with its names. AP is the mean over classes
and the ten IoU thresholds 0.50, 0.55 .. 0.95; AP50 and AP75 have one threshold; s, m and l count
objects of an area below 32^2, between, and above 96^2 pixels; ARd is the recall with at most d
detections an image (100 for s, m and l). Proposals have metrics of their own: proposal_metrics.py.

A mean over nothing (no large object, a class without ground truth) is NaN here, where the COCO
tools say -1; classes without ground truth are in no mean. Crowds are neither found nor missed.

    T  IoU thresholds     R  recall thresholds     K  classes
    A  areas              M  detections an image: 1, 10, 100     (scoring.py)
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from model.evaluation.scoring import (
    EVERY_AREA,
    IOU_50,
    IOU_75,
    LARGE,
    MEDIUM,
    SMALL,
    Floats,
    Scores,
    mean_measured,
    or_none,
    score,
)
from model.evaluation.tables import Row, percents, text_table


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
        """The twelve figures of the whole set, NaN included."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name.startswith("A")}

    def scalars(self) -> dict[str, float]:
        """All figures that are numbers, the classes' under `AP/<name>` and `AP50/<name>`."""
        values = self.summary()
        values |= {f"AP/{name}": value for name, value in self.ap_per_class.items()}
        values |= {f"AP50/{name}": value for name, value in self.ap50_per_class.items()}
        return {name: value for name, value in values.items() if not math.isnan(value)}

    def as_json(self) -> dict[str, Any]:
        """All figures as nested values fit for JSON, which has null for NaN."""
        classes = {
            name: {
                "AP": or_none(self.ap_per_class[name]),
                "AP50": or_none(self.ap50_per_class[name]),
                "boxes": boxes,
            }
            for name, boxes in self.boxes_per_class.items()
        }
        return {k: or_none(v) for k, v in self.summary().items()} | {"classes": classes}


def coco_metrics(ground_truth: Mapping[str, Any], results: Sequence[Mapping[str, Any]]) -> Metrics:
    """The metrics of detections, of which there may be none.

    Args:
        ground_truth: a COCO document.
        results: COCO results: image_id, category_id, bbox (x, y, width, height), score.

    Raises:
        ValueError: a result is of an image or category that the ground truth does not have.
    """
    return summarised(score(ground_truth, results), ground_truth)


def format_table(metrics: Metrics) -> str:
    """The figures as a text table, in percent; `-` where there is nothing to measure."""
    whole = text_table("", {"": percents(metrics.summary())})
    return f"{whole}\n\n{text_table('class', class_rows(metrics))}"


def class_rows(metrics: Metrics) -> dict[str, Row]:
    """The figures of each class as rows of a table."""
    return {
        name: percents({"AP": metrics.ap_per_class[name], "AP50": metrics.ap50_per_class[name]})
        | {"boxes": str(boxes)}
        for name, boxes in metrics.boxes_per_class.items()
    }


def summarised(scores: Scores, ground_truth: Mapping[str, Any]) -> Metrics:
    """The metrics that the scores of a ground truth amount to."""
    names = {category["id"]: category["name"] for category in ground_truth["categories"]}
    boxes = Counter(
        a["category_id"] for a in ground_truth["annotations"] if not a.get("iscrowd", 0)
    )
    boxes_per_class = {names[number]: boxes[number] for number in sorted(names)}
    recall = scores.recall
    # With 100 detections: (T, R, K, A, M) -> (T, R, K, A)
    best = scores.precision[..., -1]
    by_class = best[..., EVERY_AREA].transpose(2, 0, 1)  # (T, R, K) -> (K, T, R)
    return Metrics(
        AP=mean_measured(best[..., EVERY_AREA]),
        AP50=mean_measured(best[IOU_50, ..., EVERY_AREA]),
        AP75=mean_measured(best[IOU_75, ..., EVERY_AREA]),
        APs=mean_measured(best[..., SMALL]),
        APm=mean_measured(best[..., MEDIUM]),
        APl=mean_measured(best[..., LARGE]),
        AR1=mean_measured(recall[..., EVERY_AREA, 0]),
        AR10=mean_measured(recall[..., EVERY_AREA, 1]),
        AR100=mean_measured(recall[..., EVERY_AREA, 2]),
        ARs=mean_measured(recall[..., SMALL, 2]),
        ARm=mean_measured(recall[..., MEDIUM, 2]),
        ARl=mean_measured(recall[..., LARGE, 2]),
        ap_per_class=_named(boxes_per_class, by_class),
        ap50_per_class=_named(boxes_per_class, by_class[:, IOU_50]),
        boxes_per_class=boxes_per_class,
    )


def _named(names: Mapping[str, int], by_class: Floats) -> dict[str, float]:
    values = zip(names, by_class, strict=True)
    return {name: mean_measured(figures) for name, figures in values}
