"""The model's arrays to what a caller reads: boxes in the image, class names, level names.

Boxes are (x1, y1, x2, y2) in pixels of the upright image. They are rounded to hundredths of a
pixel and scores to 1e-4, far below what the model can tell apart; it keeps answers short.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.artifact.manifest import Manifest
from service.artifact.tensors import Outputs
from service.pictures.framing import Frame

Box = tuple[float, float, float, float]
BOX_DECIMALS = 2
SCORE_DECIMALS = 4


@dataclass(frozen=True)
class Wanted:
    """What of the model's findings the caller wants.

    Attributes:
        score_threshold: detections below it are left out.
        max_detections: the most detections of an image; None for all.
        labels: indices of the wanted classes; None for all.
        proposals: the most proposals of a level.
        levels: names of the levels whose proposals are wanted.
    """

    score_threshold: float
    max_detections: int | None
    labels: frozenset[int] | None
    proposals: int
    levels: tuple[str, ...]


@dataclass(frozen=True)
class Detection:
    """An object: its class, its probability, where it is, and the pyramid level it was found on."""

    label: str
    score: float
    box: Box
    level: str


@dataclass(frozen=True)
class Proposal:
    """A region that a pyramid level proposed, and the probability that it holds an object."""

    score: float
    box: Box


@dataclass(frozen=True)
class Detected:
    """What was found in one image, best first. Its size is that of the upright image."""

    width: int
    height: int
    detections: list[Detection]
    proposals: dict[str, list[Proposal]]


def detected(outputs: Outputs, frame: Frame, manifest: Manifest, wanted: Wanted) -> Detected:
    """What `outputs`, those of one image, say about the image in `frame`."""
    height, width = frame.original
    return Detected(
        width=width,
        height=height,
        detections=_detections(outputs, frame, manifest, wanted),
        proposals={
            level.name: _proposals(outputs, index, frame, wanted.proposals)
            for index, level in enumerate(manifest.levels)
            if level.name in wanted.levels and wanted.proposals > 0
        },
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
    keep = outputs.scores[:count] >= wanted.score_threshold
    if wanted.labels is not None:
        keep &= np.isin(outputs.labels[:count], list(wanted.labels))
    kept = np.flatnonzero(keep)[: wanted.max_detections]
    level_names = {level.number: level.name for level in manifest.levels}
    boxes = to_image(outputs.boxes[kept], frame)
    return [
        Detection(
            label=manifest.classes[outputs.labels[i]],
            score=_score(outputs.scores[i]),
            box=_box(box),
            level=level_names[int(outputs.levels[i])],
        )
        for i, box in zip(kept, boxes, strict=True)
    ]


def _proposals(outputs: Outputs, level: int, frame: Frame, most: int) -> list[Proposal]:
    count = min(most, int(outputs.proposal_counts[level]))
    boxes = to_image(outputs.proposal_boxes[level, :count], frame)
    scores = outputs.proposal_scores[level, :count]
    return [Proposal(_score(s), _box(box)) for s, box in zip(scores, boxes, strict=True)]


def _box(box: NDArray[np.float64]) -> Box:
    x1, y1, x2, y2 = np.round(box, BOX_DECIMALS).tolist()
    return x1, y1, x2, y2


def _score(score: np.float32) -> float:
    return round(float(score), SCORE_DECIMALS)


def classes_of(names: Sequence[str], manifest: Manifest) -> frozenset[int]:
    """The labels of the classes called `names`. Raises KeyError with the first unknown one."""
    labels = {name: label for label, name in enumerate(manifest.classes)}
    return frozenset(labels[name] for name in names)
