"""Score thresholds that somebody measured: those of the best F1 on a data set, of each class and of all together.

At a threshold t the detections of score t and above count. One is right if it is matched as COCO matches at an IoU of
0.5 (scoring.py); what is matched to a crowd is neither right nor wrong. With TP right ones of P, and G objects,
precision is TP / P, recall TP / G, and F1 = 2 TP / (P + G).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.evaluation.scoring import Floats, matched
from model.evaluation.tables import Row, percent

# A threshold is the score that it was measured at, rounded down to so many parts of 1, so that it keeps that detection.
PARTS = 10_000


@dataclass(frozen=True)
class OperatingPoint:
    """A score threshold, and the precision and recall of what is at it and above, in 0..1."""

    score: float
    precision: float
    recall: float

    def row(self) -> Row:
        """The columns of a table."""
        return {
            "score": f"{self.score:.4f}",
            "precision": percent(self.precision),
            "recall": percent(self.recall),
        }


@dataclass(frozen=True)
class Thresholds:
    """The thresholds of the best F1; None where nothing was found of what there is, or nothing is there.

    Attributes:
        every: of all classes' detections together.
        classes: of each class, by name.
    """

    every: OperatingPoint | None
    classes: Mapping[str, OperatingPoint | None]

    def rows(self) -> dict[str, Row]:
        """The rows of a table."""
        points = {"all": self.every, **self.classes}
        return {name: point.row() if point else {"score": "-"} for name, point in points.items()}

    def as_json(self) -> dict[str, Any] | None:
        """Nested values fit for JSON; None where not one detection is right."""
        return asdict(self) if self.every else None


def best_thresholds(
    ground_truth: Mapping[str, Any], results: Sequence[Mapping[str, Any]]
) -> Thresholds:
    """The thresholds of the best F1 of `results`.

    Args:
        ground_truth: a COCO document.
        results: COCO results, of images and categories of the ground truth.
    """
    right = matched(ground_truth, results)
    counted = right >= 0
    scores = np.array([result["score"] for result in results], np.float64)[counted]
    labels = np.array([result["category_id"] for result in results], np.int64)[counted]
    right = right[counted]
    objects = Counter(
        a["category_id"] for a in ground_truth["annotations"] if not a.get("iscrowd", 0)
    )
    classes = {}
    for category in sorted(ground_truth["categories"], key=lambda category: category["id"]):
        own = labels == category["id"]
        classes[category["name"]] = best_f1(scores[own], right[own], objects[category["id"]])
    return Thresholds(best_f1(scores, right, objects.total()), classes)


def best_f1(scores: Floats, right: NDArray[np.int64], objects: int) -> OperatingPoint | None:
    """The operating point of the best F1, of equally good ones the highest; None if no detection is right.

    Args:
        scores: of detections, float64 [n], in any order.
        right: 1 or 0 of each, [n].
        objects: that there are to find.
    """
    if not right.any():
        return None
    order = np.argsort(-scores, kind="stable")
    thresholds = _rounded_down(scores[order])
    # Where a threshold is the last of its like, all that it keeps have been counted.
    last = np.append(thresholds[1:] < thresholds[:-1], True)
    kept, hits = np.arange(1, len(order) + 1)[last], np.cumsum(right[order])[last]
    best = int(np.argmax(2 * hits / (kept + objects)))
    return OperatingPoint(
        score=float(thresholds[last][best]),
        precision=round(float(hits[best] / kept[best]), 4),
        recall=round(float(hits[best] / objects), 4),
    )


def _rounded_down(scores: Floats) -> Floats:
    parts = np.floor(scores * PARTS)
    parts -= parts / PARTS > scores  # the product itself may have been rounded up
    return np.asarray(parts / PARTS)
