"""The study's part of a page: the rows that are done beside the paper's figures, in Markdown.

Each data set's stands between two comments of the page and is written anew each time; what is outside of them stays.
"""

import json
import math
import os
from collections import defaultdict
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from model.evaluation.plots import save_bars
from model.evaluation.tables import Row, markdown_table

_AR = ("AR100", "AR1k", "ARs", "ARm", "ARl")
_AP = ("AP50", "AP", "APs", "APm", "APl")
_FEATURES = {
    "a": "C4",
    "b": "C5",
    "c": "pyramid",
    "d": "bottom-up",
    "e": "no lateral",
    "f": "finest only",
}
# Tables 1, 2, 3 and 5 of arXiv 1612.03144v2: COCO minival, ResNet-50.
_PAPER: dict[str, tuple[float, ...]] = {
    "table1a": (36.1, 48.3, 32.0, 58.7, 62.2),
    "table1b": (36.3, 44.9, 25.3, 55.5, 64.2),
    "table1c": (44.0, 56.3, 44.9, 63.4, 66.2),
    "table1d": (37.4, 49.5, 30.5, 59.9, 68.0),
    "table1e": (34.5, 46.1, 26.5, 57.4, 64.7),
    "table1f": (38.4, 51.3, 35.1, 59.7, 67.6),
    "table2a": (54.7, 31.9, 15.7, 36.5, 45.5),
    "table2b": (52.9, 28.8, 11.9, 32.4, 43.4),
    "table2c": (56.9, 33.9, 17.8, 37.7, 45.8),
    "table2d": (44.9, 24.9, 10.9, 24.4, 38.5),
    "table2e": (54.0, 31.3, 13.3, 35.2, 45.3),
    "table2f": (56.3, 33.4, 17.3, 37.3, 45.6),
    "table3a": (53.1, 31.6, 13.2, 35.6, 47.1),
    "table3b": (51.7, 28.0, 9.6, 31.9, 43.1),
    "table5-step4": (57.2, 34.3),
}
# The plots of tables 1 and 2, beside the rows' files.
_PLOTS = {"table1": ("average recall of proposals", _AR), "table2": ("average precision", _AP)}
# Heading, columns, and label -> row; the pyramid's row of tables 3 and 5 is that of table 2.
_TABLES: tuple[tuple[str, tuple[str, ...], dict[str, str]], ...] = (
    (
        "Table 1: proposals (AR, %)",
        _AR,
        {f"{k} {name}": f"table1{k}" for k, name in _FEATURES.items()},
    ),
    (
        "Table 2: Fast R-CNN on the proposals of 1c (AP, %)",
        _AP,
        {f"{k} {name}": f"table2{k}" for k, name in _FEATURES.items()},
    ),
    (
        "Table 3: both stages on the same features (AP, %)",
        _AP,
        {"a C4": "table3a", "b C5": "table3b", "c pyramid": "table2c"},
    ),
    (
        "Table 5: sharing features (AP, %)",
        _AP,
        {"no": "table2c", "4-step": "table5-step4", "joint training": "table5-joint"},
    ),
)


def markers(name: str) -> tuple[str, str]:
    """The comments between which the tables of the data set `name` stand."""
    return f"<!-- study on {name}: written by model.study -->", f"<!-- end of study on {name} -->"


def write_page(results: Path, page: Path, name: str) -> None:
    """Put the tables of the rows in `results`, on the data set `name`, into `page`, which may not be there yet."""
    text = page.read_text(encoding="utf-8") if page.exists() else "# Results\n"
    begin, end = markers(name)
    if begin not in text:
        text = f"{text.rstrip()}\n\n{begin}\n{end}\n"
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    page.parent.mkdir(parents=True, exist_ok=True)
    found = _runs(results)
    parts = [study_tables(found, name)]
    for table, (title, columns) in _PLOTS.items():
        bars = {
            f"{k} {feature}": {c: _mean(found[table + k], c) for c in columns}
            for k, feature in _FEATURES.items()
            if found[table + k]
        }
        if bars:
            save_bars(results / f"{table}.png", f"{title}, {name}", bars)
            shown = os.path.relpath(results / f"{table}.png", page.parent)
            parts.append(f"![{title} of each row of table {table[-1]}, {name}]({shown})")
    written = "\n\n".join([before + begin, *parts, end + after])
    page.write_text(written, encoding="utf-8")


def _runs(results: Path) -> dict[str, list[dict[str, Any]]]:
    """The metrics of each row's runs, by the row's name."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for path in sorted(results.glob("*.json")):
        values = json.loads(path.read_text(encoding="utf-8"))
        found[values["row"]].append(values["metrics"])
    return found


def study_tables(found: dict[str, list[dict[str, Any]]], name: str) -> str:
    """The tables in Markdown; a cell is ours, over several seeds with its deviation, then the paper's in brackets.

    Args:
        found: the metrics of each row's runs, by the row's name.
        name: of the data set.
    """
    parts = [f"## Ablations on {name}", _HOW_TO_READ]
    for heading, columns, rows in _TABLES:
        cells = {label: _row(row, columns, found.get(row, [])) for label, row in rows.items()}
        parts += [f"### {heading}", markdown_table("", cells)]
    return "\n\n".join(parts)


_HOW_TO_READ = (
    "Each cell: here, then in brackets the paper's (COCO, ResNet-50, 800 px; other data, so compare rows and not"
    " figures). With several seeds: mean ± standard deviation. What each row is: [ablations.md](ablations.md)."
)


def _mean(runs: list[dict[str, Any]], column: str) -> float:
    return mean([float(run.get(column, math.nan)) for run in runs])


def _row(name: str, columns: tuple[str, ...], runs: list[dict[str, float]]) -> Row:
    paper = dict(zip(columns, _PAPER.get(name, ()), strict=False))
    cells = {"seeds": str(len(runs)) if runs else "-"}
    for column in columns:
        ours = [100 * run[column] for run in runs if column in run]
        text = f"{mean(ours):.1f}" if ours else "-"
        if len(ours) > 1:
            text += f" ± {stdev(ours):.1f}"
        cells[column] = text + (f" ({paper[column]:.1f})" if column in paper else "")
    return cells
