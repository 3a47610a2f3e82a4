"""Whether a score means what it says: of all detections of score 0.7, seven of ten should be right.

A detection is right as COCO matches at an IoU of 0.5; what lies on a crowd counts neither way. The expected calibration
error (Guo et al. 2017, arXiv 1706.04599) is the mean distance of score and precision over bins of equal width, each bin
with the weight of its detections.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from model.evaluation.scoring import matched
from model.evaluation.tables import Row, percent

BINS = 10


@dataclass(frozen=True)
class Bin:
    """The detections of scores from `low` up to `high`: how many, their mean score, and how many of 1 are right."""

    low: float
    high: float
    detections: int
    score: float
    precision: float


@dataclass(frozen=True)
class Calibration:
    """The bins that hold detections, lowest first, and the expected calibration error in 0..1; NaN of none."""

    bins: Sequence[Bin]
    error: float

    def rows(self) -> dict[str, Row]:
        """The rows of a table, in percent."""
        rows: dict[str, Row] = {
            f"{each.low:.1f} to {each.high:.1f}": {
                "detections": str(each.detections),
                "mean score": percent(each.score),
                "right": percent(each.precision),
            }
            for each in self.bins
        }
        return rows | {"expected error": {"mean score": percent(self.error)}} if rows else {}

    def as_json(self) -> dict[str, Any] | None:
        """Nested values fit for JSON; None where there are no detections."""
        return asdict(self) if self.bins else None


def calibration(
    ground_truth: Mapping[str, Any], results: Sequence[Mapping[str, Any]]
) -> Calibration:
    """How far the scores of `results` are from how often they are right.

    Args:
        ground_truth: a COCO document.
        results: COCO results, of images and categories of the ground truth.
    """
    right = matched(ground_truth, results)
    scores = np.array([result["score"] for result in results], np.float64)[right >= 0]
    right = right[right >= 0]
    places = np.minimum((scores * BINS).astype(np.int64), BINS - 1)
    bins = [
        Bin(
            low=place / BINS,
            high=(place + 1) / BINS,
            detections=int(inside.sum()),
            score=float(scores[inside].mean()),
            precision=float(right[inside].mean()),
        )
        for place in range(BINS)
        if (inside := places == place).any()
    ]
    apart = sum(each.detections * abs(each.score - each.precision) for each in bins)
    return Calibration(bins, apart / len(scores) if bins else float("nan"))
