"""Drift: how far what a model is shown, and what it finds, is from what it saw in validation.

The measure is the Jensen-Shannon distance (Lin 1991, the root by Endres and Schindelin 2003) in base 2: of
distributions p and q with the mean m,

    sqrt((KL(p, m) + KL(q, m)) / 2)

0 where they are alike and 1 where they share nothing. It is finite where one of them has an empty bin, so nothing has
to be made up for it (as for the population stability index and for KL), and it asks for no order and no unit of the
bins (as Wasserstein's does), so that one number to alert on fits scores, levels and sizes.

Counts of n values over B bins are by chance alone about sqrt((B - 1) / (8 n ln 2)) from the distribution that they are
drawn from. Until n is so large that this is at most 0.1 there is no distance, but NaN.
"""

from collections import deque
from math import ceil, log, nan, sqrt

import numpy as np
from numpy.typing import NDArray

from service.artifact.manifest import Manifest
from service.artifact.measured import Reference
from service.artifact.tensors import Outputs
from service.errors import InvalidSettings

Counts = NDArray[np.int64]
# What is compared, and of which class: "" for all together.
Measure = tuple[str, str]

BY_CHANCE = 0.1


def enough(bins: int) -> int:
    """How many values it takes until chance alone makes a distance of at most BY_CHANCE."""
    return ceil((bins - 1) / (8 * log(2) * BY_CHANCE**2))


def distance(seen: Counts, expected: Counts) -> float:
    """The Jensen-Shannon distance of two histograms; NaN where one of them holds too little."""
    if seen.sum() < max(1, enough(len(seen))) or not expected.any():
        return nan
    p, q = seen / seen.sum(), expected / expected.sum()
    mean = (p + q) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.nan_to_num(p * np.log2(p / mean)) + np.nan_to_num(q * np.log2(q / mean))
    return sqrt(max(0.0, float(terms.sum()) / 2))


class Drift:
    """Counts what is seen in the last images, over the bins of a reference.

    Attributes:
        manifest: of the model that sees it.
    """

    def __init__(self, reference: Reference, manifest: Manifest, images: int) -> None:
        """`images` is how many are looked back at.

        Raises:
            InvalidSettings: so few would show little but chance.
        """
        least = max(enough(len(each.counts)) for each in (reference.detections, reference.sizes))
        if images < least:
            raise InvalidSettings(
                f"FPN_DRIFT_IMAGES: expected 0, or at least {least}: of fewer images chance alone would make a distance"
                f" of more than {BY_CHANCE:g} from what the model saw in validation; got {images}"
            )
        self.manifest = manifest
        self._reference = reference
        self._classes = manifest.classes
        self._images = images
        self._level_places = {level.number: place for place, level in enumerate(manifest.levels)}
        parts = (
            np.ravel(reference.scores.counts),
            np.array(reference.detections.counts),
            np.array(reference.levels),
            np.array(reference.sizes.counts),
        )
        # Where in one array the counts of scores (class by class), detections, levels and sizes begin.
        self._starts: list[int] = np.cumsum([0, *map(len, parts)]).tolist()
        self._expected = self._by_measure(np.concatenate(parts))
        self._seen: Counts = np.zeros(self._starts[-1], np.int64)
        # Of each image, which counts it added one to.
        self._window: deque[NDArray[np.intp]] = deque()

    def observe(self, outputs: Outputs, original: tuple[int, int]) -> None:
        """Counts an image of (height, width) `original`, and all that was found in it; forgets the oldest."""
        reference, (scores, detections, levels, sizes, _) = self._reference, self._starts
        count = int((outputs.scores[: int(outputs.counts)] >= reference.least_score).sum())
        bins = len(reference.scores.edges) - 1
        places = np.concatenate(
            [
                scores
                + outputs.labels[:count] * bins
                + _bins(outputs.scores[:count], reference.scores.edges),
                detections + _bins(count, reference.detections.edges),
                [levels + self._level_places[level] for level in outputs.levels[:count].tolist()],
                sizes + _bins(sqrt(original[0] * original[1]), reference.sizes.edges),
            ],
            dtype=np.intp,
            casting="unsafe",  # an empty list is of floats
        )
        self._window.append(places)
        np.add.at(self._seen, places, 1)
        if len(self._window) > self._images:
            np.subtract.at(self._seen, self._window.popleft(), 1)

    def distances(self) -> dict[Measure, float]:
        """How far what was seen is from the reference; NaN where that was too little."""
        seen = self._by_measure(self._seen)
        return {each: distance(seen[each], expected) for each, expected in self._expected.items()}

    def _by_measure(self, counts: Counts) -> dict[Measure, Counts]:
        scores, detections, levels, sizes = np.split(counts, self._starts[1:-1])
        by_class = scores.reshape(len(self._classes), -1)
        return {
            ("scores", ""): by_class.sum(axis=0),
            ("detections", ""): detections,
            ("levels", ""): levels,
            ("sizes", ""): sizes,
            **{("scores", name): row for name, row in zip(self._classes, by_class, strict=True)},
        }


def _bins(values: NDArray[np.float32] | float, edges: tuple[float, ...]) -> NDArray[np.intp]:
    """The bin of each value; what lies outside is in the first or the last."""
    places = np.searchsorted(edges, np.atleast_1d(values), side="right") - 1
    return np.asarray(places.clip(0, len(edges) - 2))
