"""Label Studio's JSON exports: a list of tasks, boxes in percent of the image (also JSON-MIN).

A task with an annotation that holds no boxes is an example of nothing; a task without one is not labelled, and is left
out. Of several annotations of a task, by several people, the first that was not cancelled is taken.
"""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from model.config.resize import Size
from model.data.faults import DataError
from model.data.formats.labels import Box, Corners, Labels, around, image_files

# Label Studio puts it before the names of uploaded files.
_UPLOAD = re.compile(r"^[0-9a-f]{8}-")


def read_label_studio(path: Path, tasks: list[Any], images: Path) -> Labels:
    """The labels of the `tasks` in the file `path`.

    Raises:
        DataError: a task is of another kind.
    """
    found = Labels(path, images)
    names = image_files(images)
    by_base = {Path(name).name: name for name in names}
    for number, task in enumerate(tasks):
        try:
            results = _results(task)
            if results is None:
                continue
            name = _image(task, names, by_base)
            boxes = [box for each in results if (box := _box(each, found)) is not None]
            size = next((size for each in results if (size := _size(each))), None)
            found.add(name, size, boxes)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise DataError(
                f"{path}: task {number}: expected an image with rectangles, got {error!r}"
            ) from None
    return found


def _results(task: Mapping[str, Any]) -> list[Any] | None:
    """The regions of a task; None where nobody has labelled it."""
    if "annotations" in task and isinstance(task["annotations"], list):
        done = [each for each in task["annotations"] if not each.get("was_cancelled")]
        return done[0]["result"] if done else None
    for key, value in task.items():  # JSON-MIN: under the name of the tag
        if isinstance(value, list) and key != "annotations":
            return value
    return []


def _image(task: Mapping[str, Any], names: Mapping[str, Path], by_base: Mapping[str, str]) -> str:
    data = task.get("data", task)
    key = next(key for key in ("image", "img", "photo", *data) if isinstance(data.get(key), str))
    url = urlsplit(data[key].replace("\\", "/"))
    given = unquote(parse_qs(url.query).get("d", [url.path])[0]).lstrip("/")
    base = Path(given).name
    for name in (given, by_base.get(base, ""), by_base.get(_UPLOAD.sub("", base), "")):
        if name in names:
            return name
    return base


def _values(region: Mapping[str, Any]) -> Mapping[str, Any]:
    value: Mapping[str, Any] = region.get("value", region)
    return value


def _size(region: Mapping[str, Any]) -> Size | None:
    height, width = region.get("original_height"), region.get("original_width")
    return (int(height), int(width)) if height and width else None


def _box(region: Mapping[str, Any], found: Labels) -> Box | None:
    value = _values(region)
    labels = value.get("rectanglelabels") or value.get("polygonlabels") or value.get("labels")
    if not labels or not ("points" in value or {"x", "y", "width", "height"} <= value.keys()):
        found.skipped[str(region.get("type", "region"))] += 1
        return None
    size = _size(region)
    if size is None:
        raise ValueError("no original_width and original_height")
    left, top, right, bottom = around(_points(value, size))
    corners: Corners = (round(left, 3), round(top, 3), round(right, 3), round(bottom, 3))
    return Box(labels[0], corners)


def _points(value: Mapping[str, Any], size: Size) -> list[tuple[float, float]]:
    """The corners of a polygon or of a rectangle, which may be turned about its first one, in pixels."""
    x_scale, y_scale = size[1] / 100, size[0] / 100
    if "points" in value:
        return [(x * x_scale, y * y_scale) for x, y in value["points"]]
    x, y = value["x"] * x_scale, value["y"] * y_scale
    w, h = value["width"] * x_scale, value["height"] * y_scale
    angle = math.radians(value.get("rotation") or 0)
    sine, cosine = math.sin(angle), math.cos(angle)
    offsets = ((0, 0), (w, 0), (0, h), (w, h))
    return [(x + dx * cosine - dy * sine, y + dx * sine + dy * cosine) for dx, dy in offsets]
