"""What FastAPI cannot say of the interface by itself: the bodies of /detect, and the problems."""

from http import HTTPStatus
from typing import Any

from service.http.multipart_bodies import PART
from service.http.problems import INTERNAL, KINDS, MEDIA_TYPE, catalogue
from service.http.receiving import JSON, MULTIPART, OCTETS
from service.pictures.drawing import FORMATS

DESCRIPTION = f"""
Objects in photographs, and the proposals of every pyramid level that led to them.

    curl -F images=@photo.jpg 'http://localhost:8000/detect?score_threshold=0.5'
    curl --data-binary @photo.jpg -H 'Content-Type: image/jpeg' http://localhost:8000/detect
    curl -F images=@photo.jpg -H 'Accept: image/jpeg' http://localhost:8000/detect -o drawn.jpg

Errors are RFC 9457 problems (`{MEDIA_TYPE}`); compare `type`. 503 carries `Retry-After` where
trying again makes sense.

{catalogue()}
"""

# Part of every DetectResponse.
_PROBLEM = {"$ref": "#/components/schemas/ProblemDetails"}
_BINARY = {"type": "string", "format": "binary"}
_BASE64 = {
    "type": "object",
    "required": ["content"],
    "properties": {
        "content": {"type": "string", "format": "byte"},
        "regions": {
            "type": "array",
            "description": "boxes of your own, x1, y1, x2, y2 in pixels of the upright image",
            "items": {"type": "array", "minItems": 4, "maxItems": 4, "items": {"type": "number"}},
        },
    },
}
_REGIONS = {
    "type": "string",
    "description": "JSON: a list of boxes [x1, y1, x2, y2] for each image",
}


def _images(of: dict[str, Any], **beside: dict[str, Any]) -> dict[str, Any]:
    images = {"type": "array", "minItems": 1, "items": of}
    properties = {PART: images, **beside}
    return {"schema": {"type": "object", "required": [PART], "properties": properties}}


DETECT_BODY: dict[str, Any] = {
    "required": True,
    "content": {
        MULTIPART: _images(_BINARY, regions=_REGIONS),
        "image/*": {"schema": _BINARY},
        OCTETS: {"schema": _BINARY},
        JSON: _images(_BASE64),
    },
}

# Beside JSON: what Accept prefers to it, and format=yolo.
OTHER_THAN_JSON: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {
            **{kind: {"schema": _BINARY} for kind in FORMATS},
            "text/plain": {"schema": {"type": "string"}},
        }
    }
}


def problem_responses(*codes: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that answers with problems of these status codes."""
    return {
        code: {
            "description": _titles(code),
            "content": {MEDIA_TYPE: {"schema": _PROBLEM}},
        }
        for code in codes
    }


def _titles(code: int) -> str:
    titles = [kind.title for kind in (*KINDS.values(), INTERNAL) if kind.status == code]
    return "; ".join(titles) or HTTPStatus(code).phrase
