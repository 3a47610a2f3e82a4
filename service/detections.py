"""The model's arrays to what a caller reads: boxes in the image, class names, level names.

Boxes are (x1, y1, x2, y2) in pixels of the upright image. They are rounded to hundredths of a
pixel and scores to 1e-4, far below what the model can tell apart; it keeps answers short.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from service.artifact.manifest import Manifest
from service.artifact.tensors import Outputs
from service.errors import InvalidRequest
from service.pictures.framing import Frame

Box = tuple[float, float, float, float]
BOX_DECIMALS = 2
SCORE_DECIMALS = 4

# What a caller asks for: one for all classes, each class's own best, or None for the model's default.
AskedThreshold = float | Literal["best"] | None
# Of a model that does not say which threshold is best.
DEFAULT_THRESHOLD = 0.5


@dataclass(frozen=True)
class Wanted:
    """What of the model's findings the caller wants.

    Attributes:
        score_thresholds: of each class; its detections below are left out.
        max_detections: the most detections of an image; None for all.
        labels: indices of the wanted classes; None for all.
        proposals: the most proposals of a level.
        levels: names of the levels whose proposals are wanted.
    """

    score_thresholds: tuple[float, ...]
    max_detections: int | None
    labels: frozenset[int] | None
    proposals: int
    levels: tuple[str, ...]


@dataclass(frozen=True)
class ProposalPlace:
    """Which proposal: its level, and its index among that level's, best first."""

    level: str
    index: int


@dataclass(frozen=True)
class Detection:
    """An object: its class, its probability, where it is, and where in the pyramid it comes from.

    Attributes:
        category_id: that the data set has for the class.
        level: that its features were pooled from.
        proposal: that became it; of a tile's detection among that tile's own.
        tile: which has found it; None for the whole photograph.
    """

    label: str
    category_id: int
    score: float
    box: Box
    level: str
    proposal: ProposalPlace
    tile: int | None = None


@dataclass(frozen=True)
class Region:
    """What a box of the caller's own holds: its best class, and the box as that class refines it."""

    label: str
    category_id: int
    score: float
    box: Box
    level: str


@dataclass(frozen=True)
class Proposal:
    """A region that a pyramid level proposed, and the probability that it holds an object."""

    index: int
    score: float
    box: Box


@dataclass(frozen=True)
class Detected:
    """What was found in one image, best first. Its size is that of the upright image.

    `regions` are the caller's, in their order; None where there were none. `tiles` is how many were looked at, too.
    """

    width: int
    height: int
    detections: list[Detection]
    proposals: dict[str, list[Proposal]]
    regions: list[Region] | None = None
    tiles: int | None = None


def detected(
    outputs: Outputs, frame: Frame, manifest: Manifest, wanted: Wanted, regions: int = 0
) -> Detected:
    """What `outputs`, those of one image, say about the image in `frame` and the first so many of its `regions`."""
    height, width = frame.original
    return Detected(
        width=width,
        height=height,
        detections=_detections(outputs, frame, manifest, wanted),
        proposals=_proposals(outputs, frame, manifest, wanted),
        regions=_regions(outputs, frame, manifest, regions) if regions else None,
    )


def to_image(boxes: NDArray[np.float32], frame: Frame) -> NDArray[np.float64]:
    """float64 [n, 4]: boxes of the frame in pixels of the image, clipped to it."""
    height, width = frame.original
    ratios = np.array([frame.content[1] / width, frame.content[0] / height] * 2)
    clipped: NDArray[np.float64] = np.clip(boxes / ratios, 0, [width, height, width, height])
    return clipped


def _detections(
    outputs: Outputs, frame: Frame, manifest: Manifest, wanted: Wanted
) -> list[Detection]:
    count = int(outputs.counts)
    labels = outputs.labels[:count]
    # In float32, as scores are: a threshold of 0.7 keeps a score of 0.7.
    keep = outputs.scores[:count] >= np.array(wanted.score_thresholds, np.float32)[labels]
    if wanted.labels is not None:
        keep &= np.isin(labels, list(wanted.labels))
    kept = np.flatnonzero(keep)[: wanted.max_detections]
    found = zip(
        outputs.labels[kept].tolist(),
        _scores(outputs.scores[kept]),
        _boxes(outputs.boxes[kept], frame),
        outputs.levels[kept].tolist(),
        outputs.proposals[kept].tolist(),
        strict=True,
    )
    level_names = _level_names(manifest)
    return [
        Detection(
            label=manifest.classes[label],
            category_id=manifest.category_ids[label],
            score=score,
            box=box,
            level=level_names[level],
            proposal=ProposalPlace(manifest.levels[place].name, index),
        )
        for label, score, box, level, (place, index) in found
    ]


def _proposals(
    outputs: Outputs, frame: Frame, manifest: Manifest, wanted: Wanted
) -> dict[str, list[Proposal]]:
    """The best ones of each wanted level, made from one array of all: an image's answer is half of them."""
    most = min(wanted.proposals, outputs.proposal_scores.shape[1])
    if most == 0:
        return {}
    boxes = _boxes(outputs.proposal_boxes[:, :most].reshape(-1, 4), frame)
    scores = _scores(outputs.proposal_scores[:, :most].reshape(-1))
    counts = outputs.proposal_counts.tolist()
    return {
        level.name: [
            Proposal(index, scores[place * most + index], boxes[place * most + index])
            for index in range(min(most, counts[place]))
        ]
        for place, level in enumerate(manifest.levels)
        if level.name in wanted.levels
    }


def _regions(outputs: Outputs, frame: Frame, manifest: Manifest, count: int) -> list[Region]:
    found = zip(
        outputs.region_labels[:count].tolist(),
        _scores(outputs.region_scores[:count]),
        _boxes(outputs.region_boxes[:count], frame),
        outputs.region_levels[:count].tolist(),
        strict=True,
    )
    level_names = _level_names(manifest)
    return [
        Region(
            manifest.classes[label], manifest.category_ids[label], score, box, level_names[level]
        )
        for label, score, box, level in found
    ]


def _level_names(manifest: Manifest) -> dict[int, str]:
    # regions are pooled from the first of several levels of one stride
    return {level.number: level.name for level in reversed(manifest.levels)}


def _boxes(boxes: NDArray[np.float32], frame: Frame) -> list[Box]:
    """Of the frame [n, 4], in the image, as they are answered."""
    rounded: list[Box] = list(map(tuple, to_image(boxes, frame).round(BOX_DECIMALS).tolist()))
    return rounded


def _scores(scores: NDArray[np.float32]) -> list[float]:
    return [round(score, SCORE_DECIMALS) for score in scores.tolist()]


def classes_of(names: Sequence[str], manifest: Manifest) -> frozenset[int]:
    """The labels of the classes called `names`. Raises KeyError with the first unknown one."""
    labels = {name: label for label, name in enumerate(manifest.classes)}
    return frozenset(labels[name] for name in names)


def score_thresholds(asked: AskedThreshold, manifest: Manifest) -> tuple[float, ...]:
    """The threshold of each class. A class without a best one of its own has that of all together.

    Raises:
        InvalidRequest: the best ones are asked for, and nobody measured them.
    """
    measured = manifest.thresholds
    if asked == "best":
        if measured is None:
            raise InvalidRequest(
                "score_threshold: this model says none for best, since it was exported without a validation set:"
                " expected a number from 0 to 1"
            )
        return tuple((own or measured.every).score for own in measured.classes)
    if asked is None:
        asked = measured.every.score if measured else DEFAULT_THRESHOLD
    return (asked,) * len(manifest.classes)
