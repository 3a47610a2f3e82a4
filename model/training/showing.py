"""What a run shows of itself, in its folder: `report/report.md`, its pictures, and all of it in one `report.html`.

batch-N.png       the photographs of step N as the network sees them, with their boxes
curves.png        losses, learning rate and the figures of the evaluations
validation.png    photographs of validation: the truth beside what was found
confusion.png     which class is taken for which
labels.png        boxes of training by class, and their sizes
and the tables and curves of an evaluation (evaluation/report.py)
"""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from model.data.coco import CocoDataset
from model.data.drawing import Mark, drawn, save_sheet
from model.evaluation.confusion import confusion
from model.evaluation.evaluation import Evaluation
from model.evaluation.plots import save_counts, save_lines, save_matrix
from model.evaluation.report import write_report
from model.training.batches import Batch

FOLDER = "report"
# Steps whose batches are drawn, photographs of validation, and points of a curve at most.
BATCHES, PHOTOGRAPHS, POINTS = 3, 8, 500
# The score from which on detections are drawn where no best one was found.
_SHOWN = 0.5


def save_batch(folder: Path, step: int, batches: Sequence[Batch], names: Sequence[str]) -> None:
    """Draws the batches of a step of this process."""
    pictures = []
    for batch in batches:
        for image, boxes, labels in zip(batch.images, batch.gt_boxes, batch.gt_labels, strict=True):
            pixels = image.permute(1, 2, 0).numpy()  # (3, H, W) -> (H, W, 3)
            marks = [
                Mark(box, names[label], label)
                for box, label in zip(boxes.tolist(), labels.tolist(), strict=True)
            ]
            pictures.append(drawn(Image.fromarray(pixels), marks))
    folder.mkdir(parents=True, exist_ok=True)
    if pictures:
        save_sheet(folder / f"batch-{step}.png", pictures)


def save_run_report(
    run: Path, training: CocoDataset, validation: CocoDataset, evaluation: Evaluation
) -> None:
    """Writes the report of an evaluation of a run."""
    folder = run / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    point = evaluation.thresholds.every if evaluation.thresholds else None
    threshold = point.score if point else _SHOWN
    save_lines(folder / "curves.png", _curves(run / "metrics.jsonl"))
    _save_labels(folder / "labels.png", training)
    _save_confusion(folder / "confusion.png", validation, evaluation, threshold)
    _save_validation(folder / "validation.png", validation, evaluation, threshold)
    batches = sorted(folder.glob("batch-*.png"))
    shown = [
        "## The run",
        "![Losses, learning rate and figures of the evaluations](curves.png)",
        "## What was found",
        "Photographs of validation: the truth on the left, on the right what was found with a score of"
        f" {threshold:.2f} or more, the best F1.",
        "![Truth and detections](validation.png)",
        "![Which class is taken for which](confusion.png)",
        "## What was trained on",
        "\n".join(str(training.inventory).splitlines()),
        "![Boxes by class and size](labels.png)",
        "As the network sees them:",
        *(f"![Photographs of a step]({path.name})" for path in batches),
    ]
    write_report(folder, run.name, validation.inventory, evaluation, shown)


def _curves(path: Path) -> dict[str, dict[str, list[tuple[float, float]]]]:
    """Panels of losses, learning rate, and what was evaluated."""
    lines: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for text in path.read_text(encoding="utf-8").splitlines():
        values = json.loads(text)
        step = values.pop("step")
        for name, value in values.items():
            lines[name].append((step, value))
    losses = [name for name in lines if name not in ("lr", "images_per_s") and name.islower()]
    figures = [name for name in ("AP", "AP50", "AP75", "APs", "APm", "APl") if name in lines]
    classes = [name for name in lines if name.startswith("AP50/")]
    panels: dict[str, dict[str, list[tuple[float, float]]]] = {
        "losses": {name: _thinned(lines[name]) for name in losses if "/" not in name},
        "learning rate": {"lr": _thinned(lines["lr"])},
        "validation": {name: lines[name] for name in figures},
        "AP50 of each class": {name.removeprefix("AP50/"): lines[name] for name in classes[:10]},
    }
    return {title: panel for title, panel in panels.items() if panel}


def _thinned(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Means of as many neighbours as leave `POINTS`."""
    size = -(-len(points) // POINTS)
    chunks = [points[start : start + size] for start in range(0, len(points), max(size, 1))]
    return [(chunk[-1][0], sum(value for _, value in chunk) / len(chunk)) for chunk in chunks]


def _save_labels(path: Path, training: CocoDataset) -> None:
    labels = np.concatenate([record.labels for record in training.records])
    boxes = np.concatenate([record.boxes for record in training.records])
    counts = {name: int((labels == label).sum()) for label, name in enumerate(training.class_names)}
    save_counts(path, counts, np.sqrt((boxes[:, 2:] - boxes[:, :2]).prod(axis=1)).tolist())


def _save_confusion(
    path: Path, validation: CocoDataset, evaluation: Evaluation, threshold: float
) -> None:
    counts = confusion(validation.ground_truth, evaluation.results, threshold)
    names = [*validation.class_names, "nothing"]
    save_matrix(path, f"score {threshold:.2f}, IoU 0.50", names, counts.tolist())


def _save_validation(
    path: Path, validation: CocoDataset, evaluation: Evaluation, threshold: float
) -> None:
    found: dict[int, list[Mapping[str, Any]]] = defaultdict(list)
    for result in evaluation.results:
        if result["score"] >= threshold:
            found[result["image_id"]].append(result)
    labels = {number: label for label, number in enumerate(validation.category_ids)}
    pictures = []
    for index in np.linspace(0, len(validation) - 1, min(PHOTOGRAPHS, len(validation))).astype(int):
        image, boxes, truth = validation.load(int(index))
        marks = [
            Mark(box, validation.class_names[label], label)
            for box, label in zip(boxes.tolist(), truth.tolist(), strict=True)
        ]
        pictures.append(drawn(image, marks))
        detections = found[validation.records[int(index)].image_id]
        pictures.append(drawn(image, [_mark(each, labels, validation) for each in detections]))
    save_sheet(path, pictures)


def _mark(result: Mapping[str, Any], labels: Mapping[int, int], dataset: CocoDataset) -> Mark:
    x, y, w, h = result["bbox"]
    label = labels[result["category_id"]]
    return Mark((x, y, x + w, y + h), f"{dataset.class_names[label]} {result['score']:.2f}", label)
