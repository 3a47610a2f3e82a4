"""What FastAPI cannot say of the interface by itself: the bodies of /detect, and the problems."""

from http import HTTPStatus
from typing import Any

from service.http.bodies import JSON, MULTIPART, OCTETS, PART
from service.http.problems import INTERNAL, KINDS, MEDIA_TYPE, catalogue

DESCRIPTION = f"""
Objects in photographs, and the proposals of every pyramid level that led to them.

    curl -F images=@photo.jpg 'http://localhost:8000/detect?score_threshold=0.5'
    curl --data-binary @photo.jpg -H 'Content-Type: image/jpeg' http://localhost:8000/detect

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
    "properties": {"content": {"type": "string", "format": "byte"}},
}


def _images(of: dict[str, Any]) -> dict[str, Any]:
    images = {"type": "array", "minItems": 1, "items": of}
    return {"schema": {"type": "object", "required": [PART], "properties": {PART: images}}}


DETECT_BODY: dict[str, Any] = {
    "required": True,
    "content": {
        MULTIPART: _images(_BINARY),
        "image/*": {"schema": _BINARY},
        OCTETS: {"schema": _BINARY},
        JSON: _images(_BASE64),
    },
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
