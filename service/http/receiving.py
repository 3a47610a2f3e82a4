"""The body of a request, received whole: its kind is known, and no limit is passed, before it is parsed.

What the header names is refused before anything is read; a body without a size is read up to the
limit and no further. A body that comes slower than the least rate is ended, whatever its deadline:
a pause uses up what `pause_s` allows, and every byte that comes gives back its part.
"""

import asyncio
from dataclasses import dataclass
from math import inf

from starlette.requests import ClientDisconnect, Request

from service.admission import Receipt
from service.errors import (
    ClientGone,
    DeadlineExceeded,
    InvalidRequest,
    TooLarge,
    UnsupportedMediaType,
    UploadTooSlow,
)
from service.settings import Settings

MULTIPART = "multipart/form-data"
JSON = "application/json"
OCTETS = "application/octet-stream"


@dataclass(frozen=True)
class BodyLimits:
    """The most bytes of a body, images in it and regions of an image, and how slowly it may come."""

    max_bytes: int
    max_images: int
    max_regions: int
    least_bytes_per_s: int = 0
    pause_s: float = inf


def limits_of(settings: Settings, max_regions: int) -> BodyLimits:
    """What the settings say of bodies, for a model that takes so many regions."""
    return BodyLimits(
        settings.max_body_bytes,
        settings.max_images,
        max_regions,
        settings.min_upload_bytes_per_s,
        settings.upload_pause_s,
    )


@dataclass(frozen=True)
class Body:
    """A body as it came: its media type without parameters, the whole header, and the bytes; at least one."""

    kind: str
    content_type: str
    content: bytes


async def receive_body(
    request: Request, limits: BodyLimits, deadline: float, receipt: Receipt
) -> Body:
    """The body of `request`, counted in `receipt` as it comes. `deadline` is in the event loop's time.

    Raises:
        UnsupportedMediaType: the type of the body is none that is read, or it is compressed.
        TooLarge: more bytes than the limit.
        InvalidRequest: it is empty.
        Overloaded: with it, more bytes of bodies would be inside than may.
        UploadTooSlow: it came slower than the least rate.
        DeadlineExceeded: it was not there by `deadline`.
        ClientGone: the caller closed the connection.
    """
    kind = _media_type(request)
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limits.max_bytes:
        raise _too_many_bytes(limits.max_bytes)
    content = await _read(request, limits, deadline, receipt)
    if not content:
        raise InvalidRequest("the body is empty: expected at least one image")
    return Body(kind, request.headers["content-type"], content)


def _media_type(request: Request) -> str:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in (MULTIPART, JSON, OCTETS) and not kind.startswith("image/"):
        raise UnsupportedMediaType(
            f"Content-Type: expected {MULTIPART}, {JSON}, image/* or {OCTETS}, got {kind or 'none'}"
        )
    encoding = request.headers.get("content-encoding", "identity")
    if encoding.lower() != "identity":
        raise UnsupportedMediaType(f"Content-Encoding: expected none, got {encoding}")
    return kind


async def _read(request: Request, limits: BodyLimits, deadline: float, receipt: Receipt) -> bytes:
    body = bytearray()
    clock = asyncio.get_running_loop().time
    slow_at = clock() + limits.pause_s
    try:
        async with asyncio.timeout_at(min(deadline, slow_at)) as limit:
            async for chunk in request.stream():
                body += chunk
                if len(body) > limits.max_bytes:
                    raise _too_many_bytes(limits.max_bytes)
                receipt.add(len(chunk))
                slow_at = _slow_at(slow_at, clock(), len(chunk), limits)
                limit.reschedule(min(deadline, slow_at))
    except TimeoutError as error:
        if slow_at < deadline:
            raise UploadTooSlow(
                f"the body came too slowly when {len(body)} bytes were there: expected at least"
                f" {limits.least_bytes_per_s} bytes per second, and pauses of at most {limits.pause_s:g} s"
            ) from error
        detail = f"the deadline passed when {len(body)} bytes of the body were there"
        raise DeadlineExceeded(detail) from error
    except ClientDisconnect as error:
        raise ClientGone("the connection was closed before the body was there") from error
    return bytes(body)


def _slow_at(slow_at: float, now: float, received: int, limits: BodyLimits) -> float:
    """When a body that has just brought `received` bytes is too slow, if no more come."""
    if limits.least_bytes_per_s == 0:
        return inf
    # Never more than a pause ahead: a fast start buys no slow end.
    return min(now + limits.pause_s, slow_at + received / limits.least_bytes_per_s)


def _too_many_bytes(max_bytes: int) -> TooLarge:
    return TooLarge(f"the body has more than {max_bytes} bytes")
