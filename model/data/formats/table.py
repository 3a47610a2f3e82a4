"""CSV: a row for each object, its columns by name.

    filename, xmin, ymin, xmax, ymax, class    Roboflow, TensorFlow's tutorials; with width, height or without
    image, x, y, w, h, label                   a corner and the sides
    path, x1, y1, x2, y2, class                without a header, as keras-retinanet has it
A row with an image and no box is an example of nothing.
"""

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from model.config.resize import Size
from model.data.faults import DataError
from model.data.formats.labels import Box, Corners, Labels
from model.text_files import read_text

_IMAGE = ("filename", "file_name", "image", "image_id", "path", "img", "image_path")
_CLASS = ("class", "label", "name", "category", "class_name", "label_name")
_CORNERS = (
    ("xmin", "ymin", "xmax", "ymax"),
    ("x1", "y1", "x2", "y2"),
    ("left", "top", "right", "bottom"),
)
_SIDES = (
    ("x", "y", "w", "h"),
    ("x", "y", "width", "height"),
    ("left", "top", "width", "height"),
    ("bbox_x", "bbox_y", "bbox_width", "bbox_height"),
)
_HEADLESS = ("path", "x1", "y1", "x2", "y2", "class")


def read_csv(path: Path, images: Path) -> Labels:
    """The labels of the CSV file `path`, of images below `images`.

    Raises:
        DataError: a column is missing or a number is none; the message names the line.
    """
    text = read_text(path)
    dialect = (
        ";" if text.partition("\n")[0].count(";") > text.partition("\n")[0].count(",") else ","
    )
    rows = [row for row in csv.reader(io.StringIO(text), delimiter=dialect) if any(row)]
    if not rows:
        raise DataError(f"{path}: no rows")
    header = [cell.strip().lower() for cell in rows[0]]
    if len(header) == len(_HEADLESS) and header[1].lstrip("-").replace(".", "", 1).isdigit():
        header, body = list(_HEADLESS), rows
    else:
        body = rows[1:]
    columns = _columns(header, path)
    found = Labels(path, images)
    for number, row in enumerate(body, 1 + len(rows) - len(body)):
        cells = dict(zip(header, (cell.strip() for cell in row), strict=False))
        _add(found, cells, columns, f"{path}:{number}")
    return found


class _Columns(NamedTuple):
    """Which columns say what: the image, the class, the box (with `sides` a corner and sides), whether its size."""

    image: str
    name: str
    box: tuple[str, ...]
    sides: bool
    size: bool


def _columns(header: list[str], path: Path) -> _Columns:
    image = next((name for name in _IMAGE if name in header), None)
    label = next((name for name in _CLASS if name in header), None)
    corners = next((names for names in _CORNERS if set(names) <= set(header)), None)
    sides = next((names for names in _SIDES if set(names) <= set(header)), None)
    box = corners or sides
    if image is None or label is None or box is None:
        raise DataError(
            f"{path}: expected columns such as filename, class, xmin, ymin, xmax, ymax, got {', '.join(header)[:100]}"
        )
    size = {"width", "height"} <= set(header) and not {"width", "height"} & set(box)
    return _Columns(image, label, box, corners is None, size)


def _add(found: Labels, cells: Mapping[str, str], columns: _Columns, where: str) -> None:
    name = cells.get(columns.image, "").replace("\\", "/")
    given = [cells.get(column, "") for column in columns.box]
    if not name:
        raise DataError(f"{where}: expected the name of an image, got none")
    size: Size | None = None
    if columns.size and cells.get("width") and cells.get("height"):
        width, height = _numbers([cells["width"], cells["height"]], where)
        size = round(height), round(width)
    if not any(given):
        found.add(name, size, [])
        return
    a, b, c, d = _numbers(given, where)
    corners: Corners = (a, b, a + c, b + d) if columns.sides else (a, b, c, d)
    if not (label := cells.get(columns.name, "")):
        raise DataError(f"{where}: expected a class, got none")
    found.add(name, size, [Box(label, corners)])


def _numbers(cells: list[str], where: str) -> list[float]:
    try:
        return [float(cell) for cell in cells]
    except ValueError:
        raise DataError(f"{where}: expected numbers, got {', '.join(cells)}") from None
