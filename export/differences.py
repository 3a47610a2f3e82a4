"""How far two answers to the same images are apart, by kind: detections, proposals, and regions of the caller's own.

Legend
    M   boxes of one image (detections, or proposals of all levels)      E   regions of an image
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from export.matches import Boxes, Likeness, Rule, Tally
from model.config.detector import DetectorConfig
from model.network.detector import Detections

KINDS = ("detections", "proposals", "regions")


class Asked(NamedTuple):
    """What was asked: images uint8 [N, 3, H, W], sizes int64 [N, 2], regions float32 [N, E, 4]."""

    images: Tensor
    sizes: Tensor
    regions: Tensor


@dataclass(frozen=True)
class Differences:
    """What a comparison found of one kind.

    Attributes:
        count: boxes of one side.
        matched: share of all boxes, 0..1, that are the same or tied.
        tied: share that are not the same, but for which a tie accounts.
        max_box, mean_box: of the same, in pixels.
        max_score, mean_score: of the same, in probabilities.
    """

    count: int
    matched: float
    tied: float
    max_box: float
    mean_box: float
    max_score: float
    mean_score: float


class Comparison:
    """Sums up what two detectors of one configuration answered."""

    def __init__(self, config: DetectorConfig, likeness: Likeness) -> None:
        proposals = Rule(config.rpn.nms_iou, 0.0, config.rpn.post_nms_test)
        detections = Rule(config.roi.nms_iou, config.roi.score_threshold, config.roi.max_detections)
        regions = Rule(0.0, 0.0, 0)
        self._tallies = {
            kind: Tally(rule, likeness)
            for kind, rule in zip(KINDS, (detections, proposals, regions), strict=True)
        }

    def add(self, expected: Detections, got: Detections) -> None:
        """Compare the answers to a batch, image by image."""
        for index in range(len(expected.counts)):
            for kind, of_kind in zip(KINDS, (_detections, _proposals, _regions), strict=True):
                self._tallies[kind].add(of_kind(expected, index), of_kind(got, index))

    def found(self) -> dict[str, Differences]:
        """By kind."""
        return {kind: _differences(tally) for kind, tally in self._tallies.items()}


def largest(kinds: Mapping[str, Differences], figure: str) -> float:
    """The largest of all kinds' `figure`."""
    return max(float(getattr(found, figure)) for found in kinds.values())


def _differences(tally: Tally) -> Differences:
    boxes, scores = torch.cat(tally.box_differences), torch.cat(tally.score_differences)
    return Differences(
        count=tally.compared // 2,
        matched=tally.share(),
        tied=tally.tied / tally.compared if tally.compared else 0.0,
        max_box=float(boxes.max()) if boxes.numel() else 0.0,
        mean_box=float(boxes.mean()) if boxes.numel() else 0.0,
        max_score=float(scores.max()) if scores.numel() else 0.0,
        mean_score=float(scores.mean()) if scores.numel() else 0.0,
    )


def _detections(answer: Detections, index: int) -> Boxes:
    count = int(answer.counts[index])
    return Boxes(*(part[index, :count] for part in (answer.boxes, answer.scores, answer.labels)))


def _proposals(answer: Detections, index: int) -> Boxes:
    """All levels' proposals of one image."""
    counts = answer.proposal_counts[index]
    real = torch.arange(answer.proposal_scores.shape[-1])[None, :] < counts[:, None]  # (L, K)
    levels = torch.arange(len(counts))[:, None].expand_as(real)
    return Boxes(
        answer.proposal_boxes[index][real], answer.proposal_scores[index][real], levels[real]
    )


def _regions(answer: Detections, index: int) -> Boxes:
    return Boxes(
        answer.region_boxes[index], answer.region_scores[index], answer.region_labels[index]
    )
