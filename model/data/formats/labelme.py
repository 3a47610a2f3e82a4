"""labelme: a JSON file beside each image, with the shapes drawn in it; the box around each is taken."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from model.config.resize import Size
from model.data.faults import DataError
from model.data.formats.labels import Box, Labels, around
from model.text_files import read_text

_SHAPES = ("rectangle", "polygon", "mask")


def is_labelme(values: object) -> bool:
    """Whether a JSON is one of labelme's."""
    return isinstance(values, dict) and "shapes" in values and "imagePath" in values


def read_labelme(source: Path, files: list[Path], images: Path) -> Labels:
    """The labels of JSON `files`, whose images are where these say, or below `images` under the same name."""
    found = Labels(source, images)
    for path in files:
        try:
            values = json.loads(read_text(path))
        except ValueError as error:
            raise DataError(f"{path}: not valid JSON: {error}") from None
        if not is_labelme(values):
            continue
        try:
            boxes = [box for each in values["shapes"] if (box := _box(each, found)) is not None]
            size = _size(values)
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{path}: expected labelme's shapes, got {error!r}") from None
        found.add(_name(path, values, images), size, boxes)
    return found


def _size(values: Mapping[str, Any]) -> Size | None:
    height, width = values.get("imageHeight"), values.get("imageWidth")
    return (int(height), int(width)) if height and width else None


def _name(path: Path, values: Mapping[str, Any], images: Path) -> str:
    given = str(values["imagePath"]).replace("\\", "/")
    beside = path.parent / given
    if beside.is_file() and beside.resolve().is_relative_to(images.resolve()):
        return beside.resolve().relative_to(images.resolve()).as_posix()
    return Path(given).name


def _box(shape: Mapping[str, Any], found: Labels) -> Box | None:
    kind, points = (
        shape.get("shape_type") or "polygon",
        [(float(x), float(y)) for x, y in shape["points"]],
    )
    if kind == "circle":  # its centre, and a point of its border
        (x, y), border = points
        radius = math.dist((x, y), border)
        return Box(shape["label"], (x - radius, y - radius, x + radius, y + radius))
    if kind not in _SHAPES or len(points) < 2:
        found.skipped[str(kind)] += 1
        return None
    return Box(shape["label"], around(points))
