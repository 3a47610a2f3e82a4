"""What was found in a picture, as COCO results: boxes in pixels of the photograph, category ids by class name.

D      detections an image   L, K   levels, and proposals of each
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from model.data.coco import CocoDataset, Record
from model.data.faults import DataError
from model.data.transforms import scale_boxes
from model.evaluation.inference import Finding


class PhotoDetections(NamedTuple):
    """Detections in pixels of a photograph: boxes float32 [D, 4] xyxy, scores float32 [D], labels int64 [D]."""

    boxes: Tensor
    scores: Tensor
    labels: Tensor


def category_ids(class_names: Sequence[str], dataset: CocoDataset) -> list[int]:
    """Return the data set's category id of each of the detector's labels, matched by name.

    Raises:
        DataError: the classes differ.
    """
    ids = dict(zip(dataset.class_names, dataset.category_ids, strict=True))
    if set(class_names) != ids.keys():
        raise DataError(
            "expected one set of classes, but only the detector has "
            f"{sorted(set(class_names) - ids.keys())} and only the data set "
            f"{sorted(ids.keys() - set(class_names))}"
        )
    return [ids[name] for name in class_names]


def in_photograph(finding: Finding) -> PhotoDetections:
    """Return a picture's detections, the real ones, in pixels of the photograph."""
    found, count = finding.found, int(finding.found.counts)
    boxes = scale_boxes(found.boxes[:count], finding.content, finding.record.size)
    return PhotoDetections(boxes, found.scores[:count], found.labels[:count])


def detection_results(
    record: Record, detections: PhotoDetections, categories: Sequence[int]
) -> list[dict[str, Any]]:
    """Return a picture's detections as COCO results; `categories` are the labels' ids."""
    boxes, scores, labels = _xywh(detections.boxes), *map(Tensor.tolist, detections[1:])
    return [
        {"image_id": record.image_id, "category_id": categories[label], "bbox": box, "score": score}
        for box, score, label in zip(boxes, scores, labels, strict=True)
    ]


def proposal_results(finding: Finding) -> list[list[dict[str, Any]]]:
    """Return a picture's proposals of each level as COCO results, but for their category."""
    found, record = finding.found, finding.record
    levels = []
    for level, count in enumerate(found.proposal_counts.tolist()):
        boxes = scale_boxes(found.proposal_boxes[level, :count], finding.content, record.size)
        scores = found.proposal_scores[level, :count].tolist()
        levels.append(
            [
                {"image_id": record.image_id, "bbox": box, "score": score}
                for box, score in zip(_xywh(boxes), scores, strict=True)
            ]
        )
    return levels


def _xywh(boxes: Tensor) -> list[list[float]]:
    corners, far_corners = boxes[:, :2], boxes[:, 2:]
    listed: list[list[float]] = torch.cat((corners, far_corners - corners), dim=1).tolist()
    return listed
