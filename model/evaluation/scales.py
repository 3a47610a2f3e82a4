"""A featurized image pyramid at test time: Figure 1(a) of the FPN paper, which FPN does without.

The detector sees every image at several scales; what it finds at each is put together in pixels
of the photograph and suppressed class by class. Beside the merged detections stand those of each
scale alone and of the detector's own, which the cost of the others is measured against.

    scale   the short side of the resize rule; the longest side goes with it in proportion
    S       scales      D   detections an image
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torchvision.ops import nms

from model.config.detector import RoiConfig
from model.data.coco import CocoDataset
from model.evaluation.detection_metrics import Metrics, coco_metrics
from model.evaluation.feeding import Loading
from model.evaluation.inference import Evaluable, findings
from model.evaluation.results import PhotoDetections, category_ids, detection_results, in_photograph
from model.evaluation.scoring import or_none
from model.evaluation.tables import Row, percents
from model.network.detector import Detections

# The detections of each image, by its id.
_ByImage = Mapping[int, PhotoDetections]


@dataclass(frozen=True)
class ScaleFigures:
    """The metrics at a scale, or at several merged, and the `seconds` of an image.

    They are the detector's, and for several scales the merging's; decoding and resizing are not
    in them. `cost` is the multiple of those at the detector's own scale.
    """

    metrics: Metrics
    seconds: float
    cost: float

    def as_json(self) -> dict[str, float | None]:
        """The figures fit for JSON, which has null for NaN."""
        figures = {name: or_none(value) for name, value in self.metrics.summary().items()}
        return figures | {"seconds_per_image": self.seconds, "cost": self.cost}

    def row(self) -> Row:
        """The figures as cells of a table: AP in percent."""
        figures = self.metrics.summary()
        cells = percents({name: figures[name] for name in ("AP", "AP50", "APs", "APm", "APl")})
        return cells | {"s an image": f"{self.seconds:.3f}", "cost": f"{self.cost:.2f}"}


class ScaledFindings(NamedTuple):
    """The COCO results of the merged detections, and the figures of each scale and of the merged."""

    results: list[dict[str, Any]]
    figures: dict[str, ScaleFigures]


def find_at_scales(
    detector: Evaluable, dataset: CocoDataset, scales: Sequence[int], loading: Loading
) -> ScaledFindings:
    """What the detector finds when it sees every image at all `scales`, and at each.

    The detector's own scale is measured too, but merged only if it is one of them.

    Raises:
        DataError: no class in common, or an image cannot be decoded.
    """
    categories = category_ids(detector.class_names, dataset)
    resize, roi = detector.config.resize, detector.config.roi
    measured: dict[str, tuple[Metrics, float]] = {}
    parts: list[_ByImage] = []
    for scale in sorted({resize.short_side, *scales}):
        watch = _Stopwatch(detector)
        found = {
            finding.record.image_id: in_photograph(finding)
            for finding in findings(watch, dataset, resize.at_short_side(scale), loading)
        }
        metrics = coco_metrics(dataset.ground_truth, _results(found, categories))
        measured[str(scale)] = (metrics, watch.seconds)
        if scale in scales:
            parts.append(found)
    start = time.perf_counter()
    merged = {image_id: merge([each[image_id] for each in parts], roi) for image_id in parts[0]}
    seconds = time.perf_counter() - start + sum(measured[str(scale)][1] for scale in set(scales))
    results = _results(merged, categories)
    name = " + ".join(str(scale) for scale in sorted(set(scales)))
    measured[name] = (coco_metrics(dataset.ground_truth, results), seconds)
    return ScaledFindings(results, _figures(measured, str(resize.short_side), len(dataset)))


def _results(found: _ByImage, categories: Sequence[int | None]) -> list[dict[str, Any]]:
    return [
        result
        for image_id, detections in found.items()
        for result in detection_results(image_id, detections, categories)
    ]


def merge(parts: Sequence[PhotoDetections], roi: RoiConfig) -> PhotoDetections:
    """The best detections of the parts, as many as one part may have, best first.

    Of each class, a box goes that overlaps a better one by more than the detector's own threshold.
    """
    boxes, scores, labels = (torch.cat(values) for values in zip(*parts, strict=True))
    kept = [
        of_class[nms(boxes[of_class], scores[of_class], roi.nms_iou)]
        for of_class in (
            torch.nonzero(labels == label)[:, 0] for label in sorted(set(labels.tolist()))
        )
    ]
    order = torch.cat(kept) if kept else labels
    best = order[scores[order].argsort(descending=True, stable=True)][: roi.max_detections]
    return PhotoDetections(boxes[best], scores[best], labels[best])


def _figures(
    measured: Mapping[str, tuple[Metrics, float]], own: str, images: int
) -> dict[str, ScaleFigures]:
    _, own_seconds = measured[own]
    return {
        name: ScaleFigures(metrics, seconds / images, seconds / own_seconds)
        for name, (metrics, seconds) in measured.items()
    }


class _Stopwatch:
    """A detector that counts the seconds which its `detect` takes."""

    def __init__(self, detector: Evaluable) -> None:
        self.detector = detector
        self.config = detector.config
        self.class_names = detector.class_names
        self.level_names = detector.level_names
        self.device = detector.device
        self.seconds = 0.0

    def detect(self, images: Tensor, sizes: Tensor) -> Detections:
        start = time.perf_counter()
        found = self.detector.detect(images, sizes)
        # Waits for a device that works on while Python goes on.
        found.counts.cpu()
        self.seconds += time.perf_counter() - start
        return found
