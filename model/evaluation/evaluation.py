"""The COCO metrics of a detector on a data set, and how they are told."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from model.data.coco import CocoDataset
from model.evaluation.calibration import Calibration, calibration
from model.evaluation.detection_metrics import Metrics, format_table, summarised
from model.evaluation.errors import ErrorKind, Kind, error_kinds
from model.evaluation.feeding import Loading
from model.evaluation.inference import Evaluable, findings
from model.evaluation.proposal_metrics import ProposalMetrics, level_metrics
from model.evaluation.reference import Reference, Sightings
from model.evaluation.results import (
    category_ids,
    detection_results,
    in_photograph,
    level_results,
)
from model.evaluation.scales import ScaleFigures, find_at_scales
from model.evaluation.scoring import Scores, score
from model.evaluation.tables import Row, text_table
from model.evaluation.thresholds import Thresholds, best_thresholds


@dataclass(frozen=True)
class Evaluation:
    """What was measured.

    Attributes:
        metrics: of the detections.
        scores: the precision and recall that the metrics summarise; classes in the metrics' order.
        proposals: of `all` proposals and of each level's; empty when not measured.
        thresholds, reference, calibration: those of the detections; None when there were several scales, which nothing
            serves.
        errors: what is wrong with them, by kind; empty when there were several scales.
        results: the detections as COCO results; empty when there were several scales.
        scales: of each scale by itself and of all merged, of which the metrics are; empty when there was one.
    """

    metrics: Metrics
    scores: Scores = field(repr=False)
    proposals: Mapping[str, ProposalMetrics] = field(default_factory=dict)
    scales: Mapping[str, ScaleFigures] = field(default_factory=dict)
    thresholds: Thresholds | None = None
    reference: Reference | None = None
    errors: Mapping[Kind, ErrorKind] = field(default_factory=dict)
    calibration: Calibration | None = None
    results: Sequence[Mapping[str, Any]] = field(default=(), repr=False)

    def __str__(self) -> str:
        """The figures as text tables, in percent."""
        tables = [text_table(corner, rows) for corner, rows in self.extra_tables().items()]
        return "\n\n".join([format_table(self.metrics), *tables])

    def extra_tables(self) -> dict[str, dict[str, Row]]:
        """The tables beside the detections' that there are, each under its corner's text."""
        tables: dict[str, dict[str, Row]] = {
            "best F1": self.thresholds.rows() if self.thresholds else {},
            "kind of error": {kind: found.row() for kind, found in self.errors.items()},
            "score from": self.calibration.rows() if self.calibration else {},
            "proposals": {name: metrics.row() for name, metrics in self.proposals.items()},
            "scale": {name: figures.row() for name, figures in self.scales.items()},
        }
        return {corner: rows for corner, rows in tables.items() if rows}

    def as_json(self) -> dict[str, Any]:
        """All figures as nested values fit for JSON, which has null for NaN."""
        values = self.metrics.as_json()
        if self.thresholds and self.reference:
            values["thresholds"] = self.thresholds.as_json()
            values["reference"] = self.reference.as_json()
        if self.errors:
            values["errors"] = {kind: asdict(found) for kind, found in self.errors.items()}
        if self.calibration:
            values["calibration"] = self.calibration.as_json()
        if self.proposals:
            values["proposals"] = {n: metrics.as_json() for n, metrics in self.proposals.items()}
        if self.scales:
            values["scales"] = {name: figures.as_json() for name, figures in self.scales.items()}
        return values


def evaluate(
    detector: Evaluable, dataset: CocoDataset, loading: Loading, *, proposals: bool = False
) -> Evaluation:
    """The metrics of the detector's detections, and of its proposals if these are wanted.

    Args:
        detector: in evaluation mode; its classes are the data set's of the same names.
        dataset: images and ground truth.
        loading: how the images are fed.
        proposals: measure them too, of all levels and of each.

    Raises:
        DataError: no class in common, or an image cannot be decoded.
    """
    categories = category_ids(detector.class_names, dataset)
    results: list[dict[str, Any]] = []
    sightings = Sightings(detector.class_names, detector.level_names)
    by_level: dict[str, list[dict[str, Any]]] = {name: [] for name in detector.level_names}
    for finding in findings(detector, dataset, detector.config.resize, loading):
        sightings.add(finding)
        found = in_photograph(finding)
        results += detection_results(finding.record.image_id, found, categories)
        if proposals:
            for level, proposed in zip(by_level.values(), level_results(finding), strict=True):
                level += proposed
    truth = dataset.ground_truth
    scores = score(truth, results)
    found_by_level = level_metrics(truth, by_level) if proposals else {}
    return Evaluation(
        summarised(scores, truth),
        scores,
        found_by_level,
        thresholds=best_thresholds(truth, results),
        reference=sightings.reference(),
        errors=error_kinds(truth, results),
        calibration=calibration(truth, results),
        results=results,
    )


def evaluate_at_scales(
    detector: Evaluable, dataset: CocoDataset, scales: Sequence[int], loading: Loading
) -> Evaluation:
    """The metrics of the detections at all `scales` merged, and of each beside its cost.

    Raises:
        DataError: as `evaluate`.
    """
    results, figures = find_at_scales(detector, dataset, scales, loading)
    scores = score(dataset.ground_truth, results)
    return Evaluation(summarised(scores, dataset.ground_truth), scores, scales=figures)
