"""The images of a request, from any of the three bodies that /detect takes.

    multipart/form-data          every part named `images`, and `regions`; others are ignored
    image/*, octet-stream        the body is the image
    application/json             {"images": [{"content": base64, "regions": [[x1, y1, x2, y2]]}]}

Regions are boxes of the caller's own in pixels of the upright image; in multipart they are one part
of JSON, a list of boxes for each image.

The size that the header names is refused before anything is read; a body without one is read up to
the limit and no further. Bodies stay in memory: what may be inside at once is bounded by admission.
"""

import asyncio
import base64
import binascii
from dataclasses import dataclass
from math import inf

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field, TypeAdapter, ValidationError
from python_multipart import FormParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import Field as FormField
from python_multipart.multipart import File, parse_options_header
from starlette.requests import ClientDisconnect, Request

from service.detector import SentImage
from service.errors import (
    ClientGone,
    DeadlineExceeded,
    InvalidImage,
    InvalidRegions,
    InvalidRequest,
    TooLarge,
    UnsupportedMediaType,
)
from service.regions import regions_of

PART = "images"
REGIONS = "regions"
REGION_LISTS = TypeAdapter(list[list[list[float]]])
MULTIPART = "multipart/form-data"
JSON = "application/json"
OCTETS = "application/octet-stream"
MOST_OTHER_PARTS = 100
# Without a limit of its own the parser would write parts past 1 MiB to a file.
IN_MEMORY = {"MAX_MEMORY_FILE_SIZE": inf}


class EncodedImage(BaseModel):
    """An image inside JSON."""

    content: str = Field(description="the image's bytes in base64")
    regions: list[list[float]] = Field(
        [], description="boxes of your own, x1, y1, x2, y2 in pixels of the upright image"
    )


class DetectBody(BaseModel):
    """The JSON body of /detect."""

    images: list[EncodedImage]


@dataclass(frozen=True)
class BodyLimits:
    """The most bytes of a body, the most images in it, and the most regions of an image."""

    max_bytes: int
    max_images: int
    max_regions: int


async def read_images(request: Request, limits: BodyLimits, deadline: float) -> list[SentImage]:
    """The images in the body, in order; at least one. `deadline` is in the event loop's time.

    Raises:
        UnsupportedMediaType: the type of the body is none of the three, or it is compressed.
        TooLarge: more bytes or images than the limits.
        InvalidRequest, RequestValidationError: the body is not what its type says, or is empty.
        DeadlineExceeded: it was not there by `deadline`.
        ClientGone: the caller closed the connection.
    """
    kind = _media_type(request)
    body = await _read(request, limits.max_bytes, deadline)
    if not body:
        raise InvalidRequest("the body is empty: expected at least one image")
    if kind == MULTIPART:
        content_type = request.headers["content-type"]
        images = await asyncio.to_thread(_from_multipart, content_type, body, limits)
    elif kind == JSON:
        images = await asyncio.to_thread(_from_json, body, limits)
    else:
        images = [SentImage(body)]
    if len(images) > limits.max_images:
        raise _too_many_images(limits.max_images)
    return images


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


async def _read(request: Request, max_bytes: int, deadline: float) -> bytes:
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > max_bytes:
        raise _too_many_bytes(max_bytes)
    body = bytearray()
    try:
        async with asyncio.timeout_at(deadline):
            async for chunk in request.stream():
                body += chunk
                if len(body) > max_bytes:
                    raise _too_many_bytes(max_bytes)
    except TimeoutError as error:
        detail = f"the deadline passed when {len(body)} bytes of the body were there"
        raise DeadlineExceeded(detail) from error
    except ClientDisconnect as error:
        raise ClientGone("the connection was closed before the body was there") from error
    return bytes(body)


class _Parts:
    """The parts of a multipart body, counted while it is parsed: very many would keep a core busy for seconds."""

    def __init__(self, limits: BodyLimits) -> None:
        self.images: list[bytes] = []
        self.regions: bytes | None = None
        self._others = 0
        self._max_images = limits.max_images

    def on_file(self, file: File) -> None:
        file.file_object.seek(0)
        self._take(file.field_name, file.file_object.read())

    def on_field(self, field: FormField) -> None:
        self._take(field.field_name, field.value or b"")

    def _take(self, name: bytes | None, content: bytes) -> None:
        if name == PART.encode():
            self.images.append(content)
        elif name == REGIONS.encode() and self.regions is None:
            self.regions = content
        else:
            self._others += 1
        if len(self.images) > self._max_images:
            raise _too_many_images(self._max_images)
        if self._others > MOST_OTHER_PARTS:
            raise TooLarge(f"more than {MOST_OTHER_PARTS} parts not named {PART}", reason="parts")


def _from_multipart(content_type: str, body: bytes, limits: BodyLimits) -> list[SentImage]:
    parts = _Parts(limits)
    boundary = parse_options_header(content_type)[1].get(b"boundary")
    try:
        parser = FormParser(
            MULTIPART, parts.on_field, parts.on_file, boundary=boundary, config=IN_MEMORY
        )
        parser.write(body)
        parser.finalize()
    except FormParserError as error:
        raise InvalidRequest("the multipart body is damaged or ends too early") from error
    if not parts.images:
        raise InvalidRequest(f"the multipart body has no part named {PART}")
    if parts.regions is None:
        return [SentImage(image) for image in parts.images]
    return _beside(parts.images, parts.regions, limits)


def _beside(images: list[bytes], regions: bytes, limits: BodyLimits) -> list[SentImage]:
    """Each of `images` with its own of the JSON `regions`."""
    try:
        boxes = REGION_LISTS.validate_json(regions)
    except ValidationError as error:
        raise InvalidRequest(
            f"{REGIONS}: expected JSON, a list of boxes [x1, y1, x2, y2] for each image; {error.errors()[0]['msg']}"
        ) from error
    if len(boxes) != len(images):
        raise InvalidRequest(
            f"{REGIONS}: expected a list of boxes for each of {len(images)} images, got {len(boxes)} lists"
        )
    return [
        _with_regions(image, own, number, limits)
        for number, (image, own) in enumerate(zip(images, boxes, strict=True))
    ]


def _with_regions(
    content: bytes | InvalidImage, boxes: list[list[float]], number: int, limits: BodyLimits
) -> SentImage:
    """Image `number` with its regions. Raises InvalidRegions, which names both."""
    try:
        return SentImage(content, regions_of(boxes, limits.max_regions))
    except InvalidRegions as error:
        raise InvalidRegions(f"image {number}: {error.detail}") from error


def _from_json(body: bytes, limits: BodyLimits) -> list[SentImage]:
    try:
        images = DetectBody.model_validate_json(body).images
    except ValidationError as error:
        entries = error.errors(include_input=False, include_url=False)
        raise RequestValidationError(
            [{**entry, "loc": ("body", *entry["loc"])} for entry in entries]
        ) from error
    if not images:
        raise InvalidRequest("images is empty: expected at least one image")
    return [
        _with_regions(_decoded(image.content), image.regions, number, limits)
        for number, image in enumerate(images)
    ]


def _decoded(content: str) -> bytes | InvalidImage:
    try:
        return base64.b64decode("".join(content.split()), validate=True)
    except (binascii.Error, ValueError):
        return InvalidImage("content is not base64")


def _too_many_images(max_images: int) -> TooLarge:
    return TooLarge(f"more than {max_images} images in one request", reason="images")


def _too_many_bytes(max_bytes: int) -> TooLarge:
    return TooLarge(f"the body has more than {max_bytes} bytes")
