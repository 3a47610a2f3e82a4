"""CVAT's own XML ("CVAT for images"): every image with its boxes, polygons and masks; the box around each is taken."""

import math
from pathlib import Path
from xml.etree import ElementTree

from model.data.faults import DataError
from model.data.formats.labels import Box, Corners, Labels, around

_POLYGONS = ("polygon", "polyline")
# Attributes of an image, not objects in it.
_NO_SHAPES = ("tag", "attribute")


def read_cvat(path: Path, root: ElementTree.Element, images: Path) -> Labels:
    """The labels of a CVAT file whose XML is `root`.

    Raises:
        DataError: a shape lacks what it must have.
    """
    names = tuple(label.text or "" for label in root.findall("meta//labels/label/name"))
    found = Labels(path, images, tuple(dict.fromkeys(names)))
    for image in root.findall("image"):
        try:
            size = int(image.attrib["height"]), int(image.attrib["width"])
            boxes = [box for each in image if (box := _box(each, found)) is not None]
            found.add(image.attrib["name"].replace("\\", "/"), size, boxes)
        except (KeyError, ValueError) as error:
            name = image.get("name")
            raise DataError(
                f"{path}: image {name!r}: a value is missing or no number: {error}"
            ) from None
    return found


def _box(shape: ElementTree.Element, found: Labels) -> Box | None:
    if shape.tag in _NO_SHAPES:
        return None
    given = shape.attrib
    if shape.tag == "box":
        corners = tuple(float(given[key]) for key in ("xtl", "ytl", "xbr", "ybr"))
        x1, y1, x2, y2 = corners
        return Box(given["label"], _turned((x1, y1, x2, y2), float(given.get("rotation", 0))))
    if shape.tag in _POLYGONS:
        pairs = [point.split(",") for point in given["points"].split(";")]
        return Box(given["label"], around([(float(x), float(y)) for x, y in pairs]))
    if shape.tag == "mask":
        left, top = float(given["left"]), float(given["top"])
        right, bottom = left + float(given["width"]), top + float(given["height"])
        return Box(given["label"], (left, top, right, bottom))
    found.skipped[shape.tag] += 1
    return None


def _turned(box: Corners, degrees: float) -> Corners:
    """The upright box around one that is turned about its centre."""
    if not degrees:
        return box
    x1, y1, x2, y2 = box
    sine, cosine = abs(math.sin(math.radians(degrees))), abs(math.cos(math.radians(degrees)))
    half_w, half_h = (x2 - x1) / 2, (y2 - y1) / 2
    x, y = (x1 + x2) / 2, (y1 + y2) / 2
    wide, tall = half_w * cosine + half_h * sine, half_w * sine + half_h * cosine
    return x - wide, y - tall, x + wide, y + tall
