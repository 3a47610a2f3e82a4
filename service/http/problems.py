"""Errors as RFC 9457 problem details: one table from the tree in `errors.py` to HTTP.

Anything that is not in the table is a 500 without detail. `type` is a stable relative URI, the
thing to compare in a client: both a full server and one that is warming up answer 503, under two
types.
"""

import math
from dataclasses import dataclass
from http import HTTPStatus

from pydantic import BaseModel, Field
from starlette.responses import Response

from service.errors import (
    ClientGone,
    DeadlineExceeded,
    DecodingFailed,
    InferenceFailed,
    InvalidBody,
    InvalidImage,
    InvalidRegions,
    InvalidRequest,
    Overloaded,
    QuotaExceeded,
    ServiceError,
    TooLarge,
    Unauthorized,
    Unavailable,
    UnsupportedMediaType,
    UploadTooSlow,
)

MEDIA_TYPE = "application/problem+json"
# What an answer repeats of a request is cut, so that no refusal is larger than 64 KiB: a character is up to six bytes.
MOST_DETAIL = 2000
MOST_NAME = 200
MOST_ERRORS = 10


@dataclass(frozen=True)
class Kind:
    """A row of the table: the last part of `type`, the title, and the status code."""

    slug: str
    title: str
    status: int

    @property
    def type(self) -> str:
        """The stable URI reference of this kind of problem."""
        return f"/problems/{self.slug}"


KINDS: dict[type[ServiceError], Kind] = {
    InvalidImage: Kind("invalid-image", "The image cannot be decoded", 400),
    InvalidBody: Kind("invalid-body", "The body is damaged or ends too early", 400),
    Unauthorized: Kind("unauthorized", "A key is needed", 401),
    UploadTooSlow: Kind("upload-too-slow", "The body came too slowly", 408),
    TooLarge: Kind("too-large", "Too many bytes, pixels or images", 413),
    UnsupportedMediaType: Kind("unsupported-media-type", "This kind of content is not read", 415),
    InvalidRegions: Kind("invalid-regions", "A region is no box inside its image", 422),
    InvalidRequest: Kind("invalid-request", "A parameter or the body is not valid", 422),
    QuotaExceeded: Kind("quota-exceeded", "The key's quota is used up", 429),
    # 499 as nginx logs it.
    ClientGone: Kind("client-gone", "The client closed the connection", 499),
    DecodingFailed: Kind("decoding-failed", "The decoder failed on this image", 500),
    InferenceFailed: Kind("inference-failed", "The model failed on this image", 500),
    Overloaded: Kind("overloaded", "The server is full", 503),
    Unavailable: Kind("unavailable", "The server is not ready", 503),
    DeadlineExceeded: Kind("deadline-exceeded", "The deadline passed", 504),
}
INTERNAL = Kind("internal", "Internal server error", 500)


class InvalidParameter(BaseModel):
    """One part of a request that is not valid: where it is, and why."""

    where: str = Field(examples=["query.score_threshold"])
    message: str


class ProblemDetails(BaseModel):
    """RFC 9457 problem details, served as application/problem+json."""

    type: str = Field(examples=["/problems/too-large"])
    title: str
    status: int
    detail: str | None = None
    instance: str | None = Field(default=None, examples=["/detect"])
    request_id: str | None = None
    retry_after_s: int | None = None
    errors: list[InvalidParameter] | None = None

    def to_response(self) -> Response:
        """The problem as an HTTP response, with Retry-After where trying again makes sense."""
        headers = {}
        if self.retry_after_s is not None:
            headers["retry-after"] = str(self.retry_after_s)
        body = self.model_dump_json(exclude_none=True)
        return Response(body, self.status, headers, media_type=MEDIA_TYPE)


def problem_from(error: Exception) -> ProblemDetails:
    """The problem that tells a client about `error`; nothing of an unknown error is told."""
    if not isinstance(error, ServiceError) or type(error) not in KINDS:
        return ProblemDetails(type=INTERNAL.type, title=INTERNAL.title, status=INTERNAL.status)
    kind = KINDS[type(error)]
    wait_s = error.retry_after_s
    return ProblemDetails(
        type=kind.type,
        title=kind.title,
        status=kind.status,
        detail=shortened(error.detail, MOST_DETAIL),
        retry_after_s=None if wait_s is None else max(1, math.ceil(wait_s)),
    )


def problem_of_status(status: int, detail: str | None = None) -> ProblemDetails:
    """The problem for a bare status code (404, 405); its `type` is about:blank, as in the RFC."""
    title = HTTPStatus(status).phrase
    return ProblemDetails(type="about:blank", title=title, status=status, detail=detail)


def shortened(text: str, most: int = MOST_NAME) -> str:
    """`text`, or its first `most` characters and an ellipsis."""
    return text if len(text) <= most else text[:most] + "..."


def catalogue() -> str:
    """A Markdown table of every problem, for the description of the interface."""
    shown = [kind for error, kind in KINDS.items() if error is not ClientGone]
    rows = [f"| `{kind.type}` | {kind.status} | {kind.title} |" for kind in [*shown, INTERNAL]]
    return "\n".join(["| type | status | title |", "|---|---|---|", *rows])
