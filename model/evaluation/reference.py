"""What a detector saw in a data set, in histograms: a server compares with it what it is shown later.

Only detections of LEAST_SCORE and above count: below lie mostly false ones, whose number says little.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import sqrt
from typing import Any

import numpy as np

from model.evaluation.inference import Finding
from model.network.detector import Detections

LEAST_SCORE = 0.3
SCORES = tuple(round(LEAST_SCORE + 0.1 * step, 1) for step in range(8))
# Of an image.
DETECTIONS = (0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 7.0, 10.0, 15.0, 25.0, 50.0, 100.0)
# Square root of an image's pixels; a step doubles them.
SIZES = tuple(float(round(64 * 2 ** (step / 2))) for step in range(13))


@dataclass(frozen=True)
class Histogram:
    """Bin k counts values from edges[k] up to edges[k + 1]; the first and the last also what lies outside."""

    edges: tuple[float, ...]
    counts: list[int]

    @classmethod
    def of(cls, values: Sequence[float], edges: tuple[float, ...]) -> "Histogram":
        """That of `values`."""
        places = np.searchsorted(edges, np.asarray(values, np.float64), side="right") - 1
        places = places.clip(0, len(edges) - 2)
        return cls(edges, np.bincount(places, minlength=len(edges) - 1).tolist())


@dataclass(frozen=True)
class Reference:
    """What was seen in so many images.

    Attributes:
        images: of the data set.
        least_score: detections below it are not counted.
        scores: of the detections of each class, by name.
        detections: of an image.
        levels: detections that were pooled from each level, by name.
        sizes: square root of an image's pixels.
    """

    images: int
    least_score: float
    scores: Mapping[str, Histogram]
    detections: Histogram
    levels: Mapping[str, int]
    sizes: Histogram

    def as_json(self) -> dict[str, Any]:
        """Nested values fit for JSON."""
        return asdict(self)


class Sightings:
    """Counts what is found, image by image.

    Args:
        class_names, level_names: of the detector.
    """

    def __init__(self, class_names: Sequence[str], level_names: Sequence[str]) -> None:
        self._scores: dict[str, list[float]] = {name: [] for name in class_names}
        self._levels = dict.fromkeys(level_names, 0)
        self._names = tuple(class_names)
        self._counts: list[float] = []
        self._sizes: list[float] = []

    def add(self, finding: Finding[Detections]) -> None:
        """Count one image."""
        found = finding.found
        seen = found.scores[: int(found.counts)] >= LEAST_SCORE
        real = [values[: len(seen)][seen] for values in (found.scores, found.labels, found.levels)]
        for score, label, level in zip(*(values.tolist() for values in real), strict=True):
            self._scores[self._names[label]].append(score)
            self._levels[f"P{level}"] += 1
        self._counts.append(int(seen.sum()))
        height, width = finding.record.size
        self._sizes.append(sqrt(height * width))

    def reference(self) -> Reference:
        """What was counted so far."""
        return Reference(
            images=len(self._counts),
            least_score=LEAST_SCORE,
            scores={name: Histogram.of(scores, SCORES) for name, scores in self._scores.items()},
            detections=Histogram.of(self._counts, DETECTIONS),
            levels=self._levels,
            sizes=Histogram.of(self._sizes, SIZES),
        )
