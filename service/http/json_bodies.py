"""The images of a JSON body: {"images": [{"content": base64, "regions": [[x1, y1, x2, y2]]}]}.

What a parser would make of a body is counted before it is parsed: a comma or an opening bracket for
every value. What is past the most values that a request within the limits can need is not parsed at
all; the beginning still tells which limit it breaks.
"""

import binascii
from collections.abc import Sequence
from typing import Any

import pybase64
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field, ValidationError
from pydantic_core import from_json

from service.detector import SentImage
from service.errors import InvalidBody, InvalidImage, InvalidRegions, InvalidRequest, TooLarge
from service.http.problems import MOST_ERRORS
from service.http.receiving import BodyLimits
from service.regions import regions_of

# Values beside those of the images: keys that are not ours are ignored.
OTHER_VALUES = 1000
# Each holds the interpreter as long as a few characters do; PHP writes one for 64 characters of base64.
MOST_ESCAPES = 1_000_000
BLOCK_BYTES = 2**16
UTF8_MARK = b"\xef\xbb\xbf"
UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
# The alphabet of RFC 4648 for URLs, in that of all else.
URL_SAFE = bytes.maketrans(b"-_", b"+/")
WHITESPACE = b" \t\r\n\f\v"


class EncodedImage(BaseModel):
    """An image inside JSON."""

    content: str = Field(description="the image's bytes in base64")
    regions: list[list[float]] = Field(
        [], description="boxes of your own, x1, y1, x2, y2 in pixels of the upright image"
    )


def images_of_json(body: bytes, limits: BodyLimits) -> list[SentImage]:
    """The images in `body`, in order; at least one.

    Raises:
        InvalidBody: it is not JSON, or not in UTF-8.
        RequestValidationError: it has another shape; the first places are named.
        InvalidRegions, TooLarge: more regions, images or values than the limits.
    """
    most = limits.max_images * (5 * limits.max_regions + 8) + OTHER_VALUES
    document, whole = parse_values(body, most)
    entries = _entries(document, whole)
    # Of a part of the document, the last may be a part as well.
    images = _validated(entries if whole else entries[:-1], limits)
    if len(entries) > limits.max_images:
        raise too_many_images(limits.max_images)
    if not whole:
        check_regions(entries[-1:], limits, len(entries) - 1)
        raise TooLarge(f"more than {most} values in the JSON", reason="values")
    if not images:
        raise InvalidRequest("images is empty: expected at least one image")
    return [
        with_regions(decoded(image.content), image.regions, number, limits)
        for number, image in enumerate(images)
    ]


def parse_values(body: bytes, most: int) -> tuple[Any, bool]:
    """The document in `body`, and whether that is all of it: of more than about `most` values only the first are there.

    Raises:
        InvalidBody: it is not JSON in UTF-8.
        TooLarge: too much of it is escaped.
    """
    if body.startswith(UTF16_MARKS) or b"\0" in body[:4]:
        raise InvalidBody("the JSON is in UTF-16 or UTF-32: expected UTF-8")
    if body.startswith(UTF8_MARK):
        body = body.removeprefix(UTF8_MARK)
    if body.count(b"\\") > MOST_ESCAPES:
        raise TooLarge(f"more than {MOST_ESCAPES} escapes in the JSON", reason="values")
    end = _end_of_values(body, most)
    whole = end >= len(body)
    try:
        return from_json(body if whole else body[:end], allow_partial=not whole), whole
    except ValueError as error:
        raise InvalidBody(f"the body is not JSON: {error}") from error


def _end_of_values(body: bytes, most: int) -> int:
    """Where the block ends in which there are more than `most` values, or the end of `body`."""
    values = 0
    for start in range(0, len(body), BLOCK_BYTES):
        end = start + BLOCK_BYTES
        values += sum(body.count(mark, start, end) for mark in (b",", b"[", b"{"))
        if values > most:
            return end
    return len(body)


def _entries(document: Any, whole: bool) -> list[Any]:
    if not isinstance(document, dict):
        raise _shape("body", message="Input should be an object")
    if "images" not in document:
        if not whole:
            return []
        raise _shape("body", "images", message="Field required")
    if not isinstance(document["images"], list):
        raise _shape("body", "images", message="Input should be a valid list")
    return document["images"]


def _shape(*where: str | int, message: str) -> RequestValidationError:
    return RequestValidationError([{"loc": where, "msg": message, "type": "shape"}])


def _validated(entries: Sequence[Any], limits: BodyLimits) -> list[EncodedImage]:
    """The entries, up to one more than may be. Raises RequestValidationError once enough errors were found."""
    images: list[EncodedImage] = []
    errors: list[Any] = []
    for number, entry in enumerate(entries[: limits.max_images + 1]):
        if len(errors) >= MOST_ERRORS:
            break
        if not isinstance(entry, dict):
            errors += _shape("body", "images", number, message="Input should be an object").errors()
            continue
        check_regions([entry], limits, number)
        try:
            images.append(EncodedImage.model_validate(entry))
        except ValidationError as error:
            errors += [
                {**each, "loc": ("body", "images", number, *each["loc"])}
                for each in error.errors(include_input=False, include_url=False)
            ]
    if errors:
        raise RequestValidationError(errors)
    return images


def check_regions(entries: Sequence[Any], limits: BodyLimits, first: int) -> None:
    """Raises InvalidRegions when entry `first` or a later one has more regions, or numbers in one, than may be."""
    for number, entry in enumerate(entries, first):
        boxes = entry.get("regions") if isinstance(entry, dict) else None
        if isinstance(boxes, list):
            check_boxes(boxes, number, limits)


def check_boxes(boxes: list[Any], number: int, limits: BodyLimits) -> None:
    """Raises InvalidRegions for what should be validated no further: too many of image `number`, or no boxes."""
    if len(boxes) > limits.max_regions:
        raise InvalidRegions(
            f"image {number}: regions: expected at most {limits.max_regions} of an image, got more"
        )
    for place, box in enumerate(boxes):
        if isinstance(box, list) and len(box) > 4:
            raise InvalidRegions(
                f"image {number}: regions: expected four finite numbers, number {place} is a list of {len(box)}"
            )


def with_regions(
    content: bytes | InvalidImage, boxes: list[list[float]], number: int, limits: BodyLimits
) -> SentImage:
    """Image `number` with its regions. Raises InvalidRegions, which names both."""
    try:
        return SentImage(content, regions_of(boxes, limits.max_regions))
    except InvalidRegions as error:
        raise InvalidRegions(f"image {number}: {error.detail}") from error


def decoded(content: str | bytes) -> bytes | InvalidImage:
    """The bytes that base64 stands for: in either alphabet, padded or not, on several lines, as a data: URI."""
    try:
        return pybase64.b64decode(content, validate=True)
    except (binascii.Error, ValueError):
        pass
    text = content.encode() if isinstance(content, str) else content
    if text[:5].lower() == b"data:":
        kind, comma, text = text.partition(b",")
        if not comma or not kind.lower().endswith(b";base64"):
            return InvalidImage("content is a data: URI whose data are not base64")
    plain = text.translate(URL_SAFE, WHITESPACE).rstrip(b"=")
    try:
        return pybase64.b64decode(plain + b"=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError):
        return InvalidImage("content is not base64")


def too_many_images(max_images: int) -> TooLarge:
    """The refusal of more images than a request may have."""
    return TooLarge(f"more than {max_images} images in one request", reason="images")
