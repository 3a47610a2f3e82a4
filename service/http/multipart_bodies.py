"""The images of a multipart body: every part named `images`, and `regions`; others are ignored, up to a number.

The end is looked for, not assumed: a body without its closing boundary was cut off, and one that goes
on behind it is two bodies.
"""

from collections.abc import Iterator

from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header
from pydantic import TypeAdapter, ValidationError

from service.detector import SentImage
from service.errors import InvalidBody, InvalidImage, InvalidRequest, TooLarge
from service.http.json_bodies import (
    OTHER_VALUES,
    check_boxes,
    decoded,
    parse_values,
    too_many_images,
    with_regions,
)
from service.http.receiving import MULTIPART, BodyLimits

PART = "images"
REGIONS = "regions"
BOXES = TypeAdapter(list[list[float]])
MOST_OTHER_PARTS = 100
MOST_PART_HEADERS = 16
MOST_PART_HEADER_BYTES = 1024
# RFC 2046 has at most 70.
MOST_BOUNDARY_BYTES = 200
# RFC 7578 has outgrown encodings, but old clients name one.
AS_IT_IS = ("", "7bit", "8bit", "binary")

Part = tuple[MultipartSegment, bytes]


def images_of_multipart(content_type: str, body: bytes, limits: BodyLimits) -> list[SentImage]:
    """The images in `body`, in order; at least one.

    Raises:
        InvalidBody: it is damaged, cut off, or goes on behind its end.
        InvalidRequest, InvalidRegions: it has no image, or other regions than images.
        TooLarge: more images, or parts, than the limits.
    """
    boundary = boundary_of(content_type)
    images: list[bytes | InvalidImage] = []
    regions: bytes | None = None
    others: list[str] = []
    for segment, content in parts_of(boundary, body):
        if segment.name == PART:
            images.append(_as_sent(segment, content))
        elif segment.name == REGIONS and regions is None:
            regions = content
        else:
            others.append(segment.name or "")
        if len(images) > limits.max_images:
            raise too_many_images(limits.max_images)
        if len(others) > MOST_OTHER_PARTS:
            raise TooLarge(f"more than {MOST_OTHER_PARTS} parts not named {PART}", reason="parts")
    if not images:
        named = ", ".join(repr(name) for name in others[:5]) or "none at all"
        raise InvalidRequest(f"the multipart body has no part named {PART}, but {named}")
    if regions is None:
        return [SentImage(image) for image in images]
    return _beside(images, regions, limits)


def boundary_of(content_type: str) -> bytes:
    """The boundary that a header names. Raises InvalidBody when it names none."""
    named = ""
    # What reads parameters has no limit of its own.
    if len(content_type) <= MOST_PART_HEADER_BYTES:
        named = parse_options_header(content_type)[1].get("boundary", "")
    if not named:
        raise InvalidBody(
            f"Content-Type: {MULTIPART} without a boundary; most clients set it themselves"
        )
    if len(named) > MOST_BOUNDARY_BYTES:
        raise InvalidBody(f"Content-Type: a boundary of more than {MOST_BOUNDARY_BYTES} bytes")
    return named.encode("latin-1", "replace")


def parts_of(boundary: bytes, body: bytes) -> Iterator[Part]:
    """The parts as they come, so that a body of very many is left early. Raises InvalidBody, also at the end."""
    shown = boundary.decode("latin-1")
    if b"--" + boundary not in body:
        raise InvalidBody(f"the boundary that Content-Type names, {shown!r}, is not in the body")
    try:
        parser = PushMultipartParser(
            boundary,
            max_header_size=MOST_PART_HEADER_BYTES,
            max_header_count=MOST_PART_HEADERS,
        )
        segment: MultipartSegment | None = None
        chunks: list[bytes] = []
        for event in parser.parse(body):
            if isinstance(event, MultipartSegment):
                segment, chunks = event, []
            elif event is not None:
                chunks.append(bytes(event))
            elif segment is not None:
                yield segment, b"".join(chunks)
    except MultipartError as error:
        raise InvalidBody(
            "the multipart body is damaged: the headers of a part, or what stands beside a boundary,"
            " cannot be read"
        ) from error
    closing = b"--" + boundary + b"--"
    try:
        parser.close()
    except MultipartError as error:
        raise InvalidBody(
            f"the closing boundary is missing: expected {closing.decode('latin-1')!r} at the end"
        ) from error
    behind = body.find(closing) + len(closing)
    if body[behind:].strip():
        raise InvalidBody("the multipart body goes on behind its closing boundary")


def _as_sent(segment: MultipartSegment, content: bytes) -> bytes | InvalidImage:
    headers = {name.lower(): value for name, value in segment.headerlist}
    encoding = headers.get("content-transfer-encoding", "").strip().lower()
    if encoding in AS_IT_IS:
        return content
    if encoding == "base64":
        return decoded(content)
    return InvalidImage("Content-Transfer-Encoding: expected none, binary or base64")


def _beside(
    images: list[bytes | InvalidImage], regions: bytes, limits: BodyLimits
) -> list[SentImage]:
    """Each of `images` with its own of the JSON `regions`."""
    most = len(images) * (5 * limits.max_regions + 1) + OTHER_VALUES
    try:
        lists, whole = parse_values(regions, most)
    except InvalidBody as error:
        raise InvalidRequest(f"{REGIONS}: expected JSON; {error.detail}") from error
    if not isinstance(lists, list):
        raise InvalidRequest(_expected("no list"))
    for number, boxes in enumerate(lists[: len(images)]):
        if not isinstance(boxes, list):
            raise InvalidRequest(_expected(f"number {number} is no list"))
        check_boxes(boxes, number, limits)
    if len(lists) != len(images):
        raise InvalidRequest(
            f"{REGIONS}: expected a list of boxes for each of {len(images)} images, got {len(lists)} lists"
        )
    if not whole:
        raise TooLarge(f"{REGIONS}: more than {most} values in the JSON", reason="values")
    return [
        with_regions(image, _validated(boxes, number), number, limits)
        for number, (image, boxes) in enumerate(zip(images, lists, strict=True))
    ]


def _validated(boxes: list[object], number: int) -> list[list[float]]:
    try:
        return BOXES.validate_python(boxes)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in (number, *first["loc"]))
        raise InvalidRequest(_expected(f"{where}: {first['msg']}")) from error


def _expected(got: str) -> str:
    return f"{REGIONS}: expected JSON, a list of boxes [x1, y1, x2, y2] for each image; {got}"
