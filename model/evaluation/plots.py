"""Plots of figures, as PNG: curves in panels, and grouped bars.

Figures in 0..1 are drawn in percent; NaN, where there was nothing to measure, leaves a gap.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import ceil
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from model.evaluation.scoring import Floats

_DPI = 110
_PANELS_ACROSS = 4


def save_curves(
    path: Path, axes_names: tuple[str, str], panels: Mapping[str, Mapping[str, Floats]]
) -> None:
    """Writes a panel of curves for each of `panels`, all on axes from 0 to 100 %.

    Args:
        path: the PNG.
        axes_names: what is drawn across and upwards.
        panels: title -> name of the curve -> its values in 0..1, evenly spaced from 0 to 100 %.
    """
    across = min(_PANELS_ACROSS, len(panels))
    down = ceil(len(panels) / across)
    with _figure(path, (0.8 + 3 * across, 0.8 + 2.6 * down)) as figure:
        grid = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False)
        places: Sequence[Axes] = grid.flatten().tolist()
        for place in places[len(panels) :]:
            place.remove()
        for place, (title, curves) in zip(places, panels.items(), strict=False):
            for name, values in curves.items():
                place.plot(np.linspace(0, 100, len(values)), 100 * values, label=name)
            place.set(title=title, xlim=(0, 100), ylim=(0, 102))
        places[0].legend(loc="lower left")
        figure.supxlabel(axes_names[0])
        figure.supylabel(axes_names[1])


def save_bars(path: Path, title: str, rows: Mapping[str, Mapping[str, float]]) -> None:
    """Writes a group of bars for each of `rows`: row name -> column -> figure in 0..1.

    Columns come in the order in which the rows first name them, each with a colour of its own.
    """
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    width = 0.8 / len(columns)
    with _figure(path, (2 + 0.35 * len(rows) * (1 + len(columns) / 2), 4)) as figure:
        place = figure.subplots()
        for number, column in enumerate(columns):
            offset = (number - (len(columns) - 1) / 2) * width
            heights = [100 * row.get(column, np.nan) for row in rows.values()]
            place.bar(np.arange(len(rows)) + offset, heights, width, label=column)
        place.set_xticks(range(len(rows)), list(rows), rotation=45, ha="right")
        place.set(title=title, ylabel="%", ylim=(0, 100))
        place.legend()


@contextmanager
def _figure(path: Path, inches: tuple[float, float]) -> Iterator[Figure]:
    """An empty figure, written to `path` when it is left. The same figures give the same bytes."""
    # Names of classes are text, whatever they hold: a dollar sign does not begin a formula.
    plain = matplotlib.rc_context({"text.parse_math": False, "font.size": 9, "axes.grid": True})
    with plain, matplotlib.rc_context({"grid.alpha": 0.3, "axes.axisbelow": True}):
        figure = Figure(figsize=inches, layout="constrained")
        yield figure
        figure.savefig(path, dpi=_DPI, metadata={"Software": None})


def save_lines(
    path: Path, panels: Mapping[str, Mapping[str, Sequence[tuple[float, float]]]]
) -> None:
    """Writes a panel of lines for each of `panels`: title -> name of the line -> its points (step, value)."""
    across = min(_PANELS_ACROSS, len(panels))
    down = ceil(len(panels) / across)
    with _figure(path, (0.8 + 3.6 * across, 0.8 + 2.8 * down)) as figure:
        grid = figure.subplots(down, across, squeeze=False)
        places: Sequence[Axes] = grid.flatten().tolist()
        for place in places[len(panels) :]:
            place.remove()
        for place, (title, lines) in zip(places, panels.items(), strict=False):
            for name, points in lines.items():
                steps, values = zip(*points, strict=True) if points else ((), ())
                place.plot(steps, values, label=name, marker="." if len(points) < 40 else "")
            place.set(title=title, xlabel="step")
            place.legend()


def save_matrix(
    path: Path, title: str, names: Sequence[str], counts: Sequence[Sequence[int]]
) -> None:
    """Writes counts as a matrix, true class down and found class across, each row coloured by its shares."""
    table = np.array(counts, np.float64)
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    side = 2.5 + 0.5 * len(names)
    with _figure(path, (side + 0.5, side)) as figure:
        place = figure.subplots()
        place.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        for row, column in np.ndindex(table.shape):
            if table[row, column]:
                colour = "white" if shares[row, column] > 0.5 else "black"
                text = f"{table[row, column]:.0f}"
                place.text(column, row, text, ha="center", va="center", color=colour)
        place.set_xticks(range(len(names)), [*names[:-1], "missed"], rotation=45, ha="right")
        place.set_yticks(range(len(names)), [*names[:-1], "nothing there"])
        place.set(title=title, xlabel="found", ylabel="true")
        place.grid(visible=False)


def save_counts(
    path: Path, bars: Mapping[str, int], sides: Sequence[float], title: str = "boxes"
) -> None:
    """Writes how many boxes there are of each class, and how large they are: `sides` in pixels."""
    with _figure(path, (4 + 0.35 * len(bars), 4)) as figure:
        left, right = figure.subplots(1, 2)
        left.bar(range(len(bars)), list(bars.values()))
        left.set_xticks(range(len(bars)), list(bars), rotation=45, ha="right")
        left.set(title=f"{title} of each class")
        right.hist(np.array(sides), bins=30)
        right.set(title="side, pixels (root of the area)")
