"""Detections in the formats of labelling tools: COCO's results, YOLO's text, Label Studio's predictions.

Boxes are as exact as those of `detections`: hundredths of a pixel.
"""

from collections.abc import Sequence
from typing import Any, Protocol

from service.detections import BOX_DECIMALS, Detected, Detection

# Below what the boxes themselves are rounded to, in a photograph of 10,000 pixels.
FRACTION_DECIMALS = 6
PERCENT_DECIMALS = 4


class Named(Protocol):
    """What a format says of the model: a manifest has it, and so has what /model tells a client."""

    @property
    def name(self) -> str:
        """The model's."""

    @property
    def version(self) -> str:
        """Of its weights."""

    @property
    def classes(self) -> Sequence[str]:
        """Their names; a label is a place among them."""


def coco_results(image: Detected, image_id: int) -> list[dict[str, Any]]:
    """The entries of one image in a file of results."""
    return [
        {
            "image_id": image_id,
            "category_id": each.category_id,
            "bbox": [each.box[0], each.box[1], *_extent(each)],
            "score": each.score,
        }
        for each in image.detections
    ]


def yolo_lines(image: Detected, classes: Sequence[str]) -> str:
    """A line `class x y width height score` for each detection: centre and size as fractions of the photograph."""
    lines = []
    for each in image.detections:
        width, height = _extent(each)
        x, y = each.box[0] + width / 2, each.box[1] + height / 2
        sides = (x / image.width, y / image.height, width / image.width, height / image.height)
        numbers = " ".join(f"{side:.{FRACTION_DECIMALS}f}" for side in sides)
        lines.append(f"{classes.index(each.label)} {numbers} {each.score}\n")
    return "".join(lines)


def label_studio_prediction(image: Detected, model: Named) -> dict[str, Any]:
    """A prediction for a task whose labels are called `label` and whose photograph is `image`, its template's names."""
    return {
        "model_version": f"{model.name} {model.version}",
        "score": max((each.score for each in image.detections), default=0.0),
        "result": [_rectangle(each, image) for each in image.detections],
    }


def _rectangle(detection: Detection, image: Detected) -> dict[str, Any]:
    width, height = _extent(detection)
    x, y = detection.box[:2]
    return {
        "from_name": "label",
        "to_name": "image",
        "type": "rectanglelabels",
        "original_width": image.width,
        "original_height": image.height,
        "image_rotation": 0,
        "score": detection.score,
        "value": {
            "x": round(100 * x / image.width, PERCENT_DECIMALS),
            "y": round(100 * y / image.height, PERCENT_DECIMALS),
            "width": round(100 * width / image.width, PERCENT_DECIMALS),
            "height": round(100 * height / image.height, PERCENT_DECIMALS),
            "rotation": 0,
            "rectanglelabels": [detection.label],
        },
    }


def _extent(detection: Detection) -> tuple[float, float]:
    """Width and height, as exact as the box is."""
    x1, y1, x2, y2 = detection.box
    return round(x2 - x1, BOX_DECIMALS), round(y2 - y1, BOX_DECIMALS)
