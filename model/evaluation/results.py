"""What was found in an image, as COCO results: boxes in pixels of the photograph, category ids by class name.

D      detections an image   L, K   levels, and proposals of each   B      boxes of one image
"""

import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from model.data.coco import CocoDataset
from model.data.faults import DataError, some
from model.data.transforms import scale_boxes
from model.evaluation.inference import Finding
from model.network.detections import FinalBoxes
from model.network.detector import Detections

logger = logging.getLogger(__name__)


class PhotoDetections(NamedTuple):
    """Detections in pixels of a photograph: boxes float [D, 4] xyxy, scores float [D], labels int64 [D]."""

    boxes: Tensor
    scores: Tensor
    labels: Tensor


def category_ids(class_names: Sequence[str], dataset: CocoDataset) -> list[int | None]:
    """The data set's category id of each of the detector's labels, matched by name; None where it has no such class.

    What only one of both has is logged: a class of the detector alone is not scored, and one of the data set alone is
    never found.

    Raises:
        DataError: they have no class in common.
    """
    ids = dict(zip(dataset.class_names, dataset.category_ids, strict=True))
    only_detector = [name for name in class_names if name not in ids]
    only_data = sorted(ids.keys() - set(class_names))
    if len(only_detector) == len(class_names):
        raise DataError(
            "expected a class that the detector and the data set have in common, but the detector has "
            f"{some(only_detector)} and the data set {some(only_data)}"
        )
    if only_detector:
        logger.warning("not scored, as the data set has no such class: %s", some(only_detector))
    if only_data:
        logger.warning("never found, as the detector has no such class: %s", some(only_data))
    return [ids.get(name) for name in class_names]


def in_photograph(finding: Finding[Detections] | Finding[FinalBoxes]) -> PhotoDetections:
    """An image's detections, the real ones, in pixels of the photograph."""
    found, count = finding.found, int(finding.found.counts)
    boxes = scale_boxes(found.boxes[:count], finding.content, finding.record.size)
    return PhotoDetections(boxes, found.scores[:count], found.labels[:count])


def detection_results(
    image_id: int, detections: PhotoDetections, categories: Sequence[int | None]
) -> list[dict[str, Any]]:
    """An image's detections as COCO results; `categories` are the labels' ids, None leaves its detections out."""
    results = box_results(image_id, detections.boxes, detections.scores)
    labels = detections.labels.tolist()
    return [
        result | {"category_id": categories[label]}
        for result, label in zip(results, labels, strict=True)
        if categories[label] is not None
    ]


def box_results(image_id: int, boxes: Tensor, scores: Tensor) -> list[dict[str, Any]]:
    """Boxes [B, 4] xyxy in pixels of a photograph and their scores [B] as COCO results, but for a category."""
    corners, far_corners = boxes[:, :2], boxes[:, 2:]
    boxes_xywh = torch.cat((corners, far_corners - corners), dim=1).tolist()
    return [
        {"image_id": image_id, "bbox": box, "score": score}
        for box, score in zip(boxes_xywh, scores.tolist(), strict=True)
    ]


def level_results(finding: Finding[Detections]) -> list[list[dict[str, Any]]]:
    """An image's proposals of each of L levels, as `box_results`."""
    found, record = finding.found, finding.record
    levels = []
    for level, count in enumerate(found.proposal_counts.tolist()):
        boxes = scale_boxes(found.proposal_boxes[level, :count], finding.content, record.size)
        scores = found.proposal_scores[level, :count]
        levels.append(box_results(record.image_id, boxes, scores))
    return levels
