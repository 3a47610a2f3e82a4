"""What `format` asks of /detect: the detections alone, as labelling tools read them.

No format has a place for an image that could not be answered, so a bad one fails its request.
"""

import json
from typing import Any, Literal

from starlette.responses import Response

from service.artifact.manifest import Manifest
from service.detections import Detected
from service.errors import InvalidRequest
from service.formats import coco_results, label_studio_prediction, yolo_lines
from service.http.accept import Picture
from service.http.receiving import JSON

Tool = Literal["coco", "yolo", "labelstudio"]
Format = Literal["json"] | Tool


def formatted(images: list[Detected], kind: Tool, manifest: Manifest) -> Response:
    """The detections of `images` in a tool's format; for yolo there is one image.

    COCO's `image_id` is an image's place in the request, from 0.
    """
    if kind == "yolo":
        return Response(yolo_lines(images[0], manifest.classes), media_type="text/plain")
    body: list[Any]
    if kind == "coco":
        body = [each for place, image in enumerate(images) for each in coco_results(image, place)]
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
