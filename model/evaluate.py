"""`fpn-eval`: the COCO metrics of a detector on a data set.

fpn-eval CHECKPOINT --images DIR --annotations JSON [--batch-size 8] [--json OUT]
    --proposals    the average recall of the proposals too, of all levels and of each
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from model.annotations import DataError, reason
from model.checkpoint import CheckpointError, load_detector
from model.coco import CocoDataset
from model.findings import (
    Evaluable,
    Loading,
    category_ids,
    detection_results,
    findings,
    proposal_results,
)
from model.fpn import LEVELS
from model.metrics import Metrics, coco_metrics, format_table
from model.proposal_metrics import ProposalMetrics, level_metrics
from model.tables import text_table


@dataclass(frozen=True)
class Evaluation:
    """The metrics of detections, and of proposals, where wanted, of `all` and of each level."""

    metrics: Metrics
    proposals: dict[str, ProposalMetrics]

    def __str__(self) -> str:
        """Return the figures as text tables, in percent."""
        tables = [format_table(self.metrics)]
        if self.proposals:
            rows = {name: metrics.row() for name, metrics in self.proposals.items()}
            tables.append(text_table("proposals", rows))
        return "\n\n".join(tables)

    def as_json(self) -> dict[str, Any]:
        """Return all figures as nested values fit for JSON, which has null for NaN."""
        values = self.metrics.as_json()
        if self.proposals:
            values["proposals"] = {n: metrics.as_json() for n, metrics in self.proposals.items()}
        return values


def evaluate(
    detector: Evaluable,
    dataset: CocoDataset,
    batch_size: int = 8,
    *,
    workers: int = 0,
    progress: bool = False,
) -> Metrics:
    """Return the COCO metrics of the detector on the data set; it must be in evaluation mode.

    Args:
        detector: its class names must be the data set's, in any order.
        dataset: pictures and ground truth.
        batch_size: pictures a batch at most.
        workers: processes that decode and resize; 0 means this one.
        progress: show a progress bar.

    Raises:
        DataError: the classes differ, or a picture cannot be decoded.
    """
    return evaluation(detector, dataset, Loading(batch_size, workers, progress)).metrics


def evaluation(
    detector: Evaluable, dataset: CocoDataset, loading: Loading, *, proposals: bool = False
) -> Evaluation:
    """Return the metrics of the detector's detections, and of its proposals if these are wanted.

    Raises:
        DataError: as `evaluate`.
    """
    categories = category_ids(detector.class_names, dataset)
    results: list[dict[str, Any]] = []
    by_level: dict[str, list[dict[str, Any]]] = {f"P{level}": [] for level in LEVELS}
    for finding in findings(detector, dataset, detector.config.resize, loading):
        results += detection_results(finding, categories)
        if proposals:
            for level, found in zip(by_level.values(), proposal_results(finding), strict=True):
                level += found
    truth = dataset.ground_truth
    return Evaluation(
        coco_metrics(truth, results), level_metrics(truth, by_level) if proposals else {}
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit status: 0, or 2 after one line that says what was wrong."""
    options = _parser().parse_args(arguments)
    try:
        if options.device == "cuda" and not torch.cuda.is_available():
            raise DataError("--device cuda: torch finds no CUDA device here; use --device cpu")
        detector = load_detector(options.checkpoint).to(options.device)
        dataset = CocoDataset.read(options.annotations, options.images)
        loading = Loading(options.batch_size, options.workers, progress=True)
        found = evaluation(detector, dataset, loading, proposals=options.proposals)
        print(f"{dataset.report}\n\n{found}")
        if options.json:
            options.json.write_text(json.dumps(found.as_json(), indent=2) + "\n")
    except (CheckpointError, DataError, OSError) as error:
        print(f"fpn-eval: {reason(error)}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="fpn-eval", description="Score a detector as COCO does.")
    parser.add_argument("checkpoint", type=Path, help="a run's model.pt or last.pt")
    parser.add_argument("--images", type=Path, required=True, help="the folder of the pictures")
    parser.add_argument("--annotations", type=Path, required=True, help="their COCO json")
    parser.add_argument("--batch-size", type=_positive, default=8, metavar="N")
    parser.add_argument("--workers", type=int, default=0, metavar="N", help="decoding processes")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write all figures to this file")
    parser.add_argument(
        "--proposals", action="store_true", help="score the proposals too: average recall"
    )
    default = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--device", default=default, choices=["cpu", "cuda"])
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a positive number, got {text}")
    return number


if __name__ == "__main__":
    sys.exit(main())
