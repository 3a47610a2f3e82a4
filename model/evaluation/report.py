"""A page of an evaluation: tables in Markdown, precision-recall curves and bars in PNG beside it.

The curves are COCO's: the precision at a recall is the best at that recall or a higher one, of at
most 100 detections an image. Curves of several classes are their mean, class by class.

    T, R, K, A, M   as in scoring.py
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from model.data.faults import Inventory
from model.evaluation.detection_metrics import class_rows
from model.evaluation.evaluation import Evaluation
from model.evaluation.html_page import write_html
from model.evaluation.plots import save_bars, save_curves
from model.evaluation.scoring import EVERY_AREA, IOU_50, IOU_75, LARGE, MEDIUM, SMALL, Floats
from model.evaluation.tables import markdown_table, percents

PAGE = "report.md"
AXES = ("recall, %", "precision, %")
AREAS = {"all": EVERY_AREA, "small": SMALL, "medium": MEDIUM, "large": LARGE}


def write_report(
    folder: Path,
    title: str,
    inventory: Inventory,
    evaluation: Evaluation,
    more: Sequence[str] = (),
) -> None:
    """Writes `report.md`, the plots that it shows and both in one `report.html` into `folder`, which exists.

    Args:
        folder: of the files.
        title: of the page.
        inventory: of the data set that was scored.
        evaluation: what was measured.
        more: parts of the page, in Markdown, that follow its first table.
    """
    metrics = evaluation.metrics
    names = [name for name, boxes in metrics.boxes_per_class.items() if boxes]
    measured = np.array([boxes > 0 for boxes in metrics.boxes_per_class.values()])
    parts = [
        f"# {title}",
        *str(inventory).splitlines(),
        markdown_table("", {"detections": percents(metrics.summary())}),
        *more,
    ]
    if names:
        # Of the best 100 detections and the classes with objects: (T, R, K, A, M) -> (T, R, K', A)
        precision = evaluation.scores.precision[..., -1][:, :, measured]
        save_curves(folder / "precision_recall.png", AXES, _whole(precision))
        save_curves(folder / "precision_recall_by_class.png", AXES, _by_class(precision, names))
        parts += [
            "## Precision and recall",
            "![Precision against recall, mean of all classes](precision_recall.png)",
            "At an IoU of 0.50, by class and size of the objects:",
            "![Precision against recall of each class](precision_recall_by_class.png)",
        ]
    parts += ["## Classes", markdown_table("class", class_rows(metrics))]
    if names:
        figures = {"AP": metrics.ap_per_class, "AP50": metrics.ap50_per_class}
        bars = {name: {k: of_class[name] for k, of_class in figures.items()} for name in names}
        save_bars(folder / "ap_by_class.png", "average precision", bars)
        parts.append("![Average precision of each class](ap_by_class.png)")
    for corner, rows in evaluation.extra_tables().items():
        parts += [f"## {corner.capitalize()}", markdown_table(corner, rows)]
    if evaluation.proposals:
        recalls = {name: found.recalls() for name, found in evaluation.proposals.items()}
        save_bars(folder / "average_recall.png", "average recall of proposals", recalls)
        parts.append("![Average recall of the proposals of each level](average_recall.png)")
    (folder / PAGE).write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    write_html(folder / PAGE)


def _whole(precision: Floats) -> dict[str, dict[str, Floats]]:
    """The curves of all classes together, by IoU and by size, of precision [T, R, K, A]."""
    every = precision[..., EVERY_AREA]
    by_iou = {
        "IoU 0.50": _mean_of_classes(every[IOU_50]),
        "IoU 0.75": _mean_of_classes(every[IOU_75]),
        "mean of 0.50:0.95": _mean_of_classes(every.transpose(1, 0, 2).reshape(every.shape[1], -1)),
    }
    by_size = {name: _mean_of_classes(precision[IOU_50, ..., a]) for name, a in AREAS.items()}
    return {"all objects": by_iou, "by size, IoU 0.50": by_size}


def _by_class(precision: Floats, names: list[str]) -> dict[str, dict[str, Floats]]:
    return {
        name: {area: _gaps(precision[IOU_50, :, k, a]) for area, a in AREAS.items()}
        for k, name in enumerate(names)
    }


def _mean_of_classes(curves: Floats) -> Floats:
    """The mean [R] of curves [R, K], without the classes that have nothing to measure."""
    measured = curves[:, curves[0] > -1]
    return measured.mean(axis=1) if measured.size else np.full(len(curves), np.nan)


def _gaps(curve: Floats) -> Floats:
    return np.where(curve > -1, curve, np.nan)
