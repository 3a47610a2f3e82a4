"""Detections in the formats of labelling tools: COCO's results, YOLO's text, Label Studio's predictions.

None has a place for an image that could not be answered, so a bad one fails its request.
"""

import json
from typing import Any, Literal

from starlette.responses import Response

from service.artifact.manifest import Manifest
from service.detections import BOX_DECIMALS, Detected, Detection
from service.errors import InvalidRequest
from service.http.accept import Picture
from service.http.receiving import JSON

Tool = Literal["coco", "yolo", "labelstudio"]
Format = Literal["json"] | Tool
# Below what the boxes themselves are rounded to, in a photograph of 10,000 pixels.
FRACTION_DECIMALS = 6
PERCENT_DECIMALS = 4


def formatted(images: list[Detected], kind: Tool, manifest: Manifest) -> Response:
    """The detections of `images` in a tool's format; for yolo there is one image."""
    if kind == "yolo":
        return Response(yolo_lines(images[0], manifest), media_type="text/plain")
    if kind == "coco":
        body: list[Any] = coco_results(images)
    else:
        body = [label_studio_prediction(image, manifest) for image in images]
    return Response(json.dumps(body), media_type=JSON)


def check_shape(shape: Format | Picture, images: int) -> None:
    """Raises InvalidRequest when so many images cannot be answered in the shape."""
    if shape in ("json", "coco", "labelstudio") or images == 1:
        return
    if shape == "yolo":
        raise InvalidRequest(f"format=yolo: a text is of one image, got {images}: send one")
    raise InvalidRequest(
        f"Accept: a picture is drawn of one image, got {images}: send one, or accept {JSON}"
    )


def coco_results(images: list[Detected]) -> list[dict[str, Any]]:
    """The entries of a file of results; `image_id` is an image's place in the request, from 0."""
    return [
        {
            "image_id": number,
            "category_id": each.category_id,
            "bbox": [each.box[0], each.box[1], *_extent(each)],
            "score": each.score,
        }
        for number, image in enumerate(images)
        for each in image.detections
    ]


def yolo_lines(image: Detected, manifest: Manifest) -> str:
    """A line `class x y width height score` for each detection: centre and size as fractions of the photograph."""
    lines = []
    for each in image.detections:
        width, height = _extent(each)
        x, y = each.box[0] + width / 2, each.box[1] + height / 2
        sides = (x / image.width, y / image.height, width / image.width, height / image.height)
        numbers = " ".join(f"{side:.{FRACTION_DECIMALS}f}" for side in sides)
        lines.append(f"{_label(each, manifest)} {numbers} {each.score}\n")
    return "".join(lines)


def label_studio_prediction(image: Detected, manifest: Manifest) -> dict[str, Any]:
    """A prediction for a task whose labels are called `label` and whose photograph is `image`, its template's names."""
    return {
        "model_version": f"{manifest.name} {manifest.version}",
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


def _label(detection: Detection, manifest: Manifest) -> int:
    return manifest.classes.index(detection.label)
