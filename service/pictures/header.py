"""What stands in the first bytes of an image: its format, its size, and what decoding it will cost.

Read in the event loop, before anything is promised to anybody, so it looks at a bounded number of bytes and
allocates nothing. It prices and pre-refuses; the truth is what Pillow says of the same bytes (admitted.py), in a
process of its own. Sources: PNG 3rd ed. 11.2.1, GIF89a 18, BITMAPINFOHEADER, RFC 9649, ITU-T T.81 B.2, TIFF 6.0 part 1,
ISO/IEC 15444-1 A.5.1 and I.5.3.1, ISO/IEC 23008-12 6.5.3.

A cost is in pixels: those of a baseline JPEG that takes as long to decode and to resize.
"""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

# Nanoseconds a pixel in relation to a baseline JPEG's 6.5, decoded and resized (docs/decisions/0011).
WEIGHTS = {
    "JPEG": 1.0,
    "BMP": 1.0,
    "AVIF": 2.0,
    "GIF": 2.0,
    "WEBP": 3.0,
    "TIFF": 4.0,
    "PNG": 7.0,
    "JPEG2000": 25.0,
}
# Every further scan of a JPEG goes once more over all of its coefficients: 1.2 ns a pixel, also when it is empty.
SCAN_WEIGHT = 0.25
# A row costs as much as so many pixels, whatever its length: 46 ns. A turned image's columns become rows.
SIDE_PIXELS = 8

# Segments of a JPEG, entries of a TIFF's directory: as many as are looked at for the size.
MOST_PARTS = 256
# AVIF and JPEG 2000 have their size in one of the first boxes.
MOST_BOX_BYTES = 4096

TIFF_WIDTH, TIFF_HEIGHT, TIFF_SHORT = 256, 257, 3
J2K = b"\xff\x4f\xff\x51"
# SOF0 to SOF15 without DHT, JPG and DAC, which lie among them.
START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD9)})
START_OF_SCAN = b"\xff\xda"

Sides = tuple[int, int]


@dataclass(frozen=True)
class Header:
    """What the first bytes of an image say of it; sides as they are stored, not as EXIF turns them.

    Attributes:
        format: Pillow's name of it.
        cost: in pixels of a baseline JPEG that takes as long.
    """

    format: str
    width: int
    height: int
    cost: int


def header(data: bytes) -> Header | None:
    """What the first bytes of the image say; None when they are of no format that is read, or damaged.

    None costs nothing to refuse, so it may count as an image without pixels.
    """
    try:
        kind, (width, height) = _sides(data)
        weight = WEIGHTS[kind] + (SCAN_WEIGHT * (_scans(data) - 1) if kind == "JPEG" else 0)
    except (struct.error, LookupError, ValueError):
        return None
    cost = weight * width * height + SIDE_PIXELS * (width + height)
    return Header(kind, width, height, round(cost))


def _sides(data: bytes) -> tuple[str, Sides]:
    """Format, width and height. Raises struct.error, LookupError or ValueError when they are not there."""
    for start, kind, sides in READERS:
        if start.match(data):
            return kind, sides(data)
    raise ValueError("none of the formats")


def _png(data: bytes) -> Sides:
    width, height = struct.unpack_from(">II", data, 16)
    return width, height


def _jpeg(data: bytes) -> Sides:
    # Two of them, of which decoders might take either, are no JPEG.
    (frame,) = [at for marker, at in _segments(data) if marker in START_OF_FRAME]
    height, width = struct.unpack_from(">HH", data, frame + 5)
    return width, height


def _segments(data: bytes) -> Iterator[tuple[int, int]]:
    """The markers of a JPEG up to its first scan, and where each lies. Raises ValueError when there are too many."""
    at = 2
    for _ in range(MOST_PARTS):
        at = data.index(b"\xff", at)
        marker = data[at + 1]
        if marker == 0xFF or marker in WITHOUT_LENGTH:
            at += 1
            continue
        yield marker, at
        if marker == START_OF_SCAN[1]:
            return
        (length,) = struct.unpack_from(">H", data, at + 2)
        at += 2 + length
    raise ValueError("too many segments")


def _scans(data: bytes) -> int:
    """How often a decoder goes over the coefficients of a JPEG."""
    at = dict(_segments(data))
    frame = next(marker for marker in at if marker in START_OF_FRAME)
    scan = at[START_OF_SCAN[1]]
    # The bytes after the lengths of both: components of the frame, and those of its first scan.
    if frame not in PROGRESSIVE and data[scan + 4] == data[at[frame] + 9]:
        return 1
    # Within a scan 0xFF is always followed by zero or by a restart's number.
    return max(1, data.count(START_OF_SCAN))


def _gif(data: bytes) -> Sides:
    width, height = struct.unpack_from("<HH", data, 6)
    return width, height


def _bmp(data: bytes) -> Sides:
    (length,) = struct.unpack_from("<I", data, 14)
    width, height = struct.unpack_from("<HH" if length == 12 else "<ii", data, 18)
    # Negative: its rows come from the top.
    return abs(width), abs(height)


def _webp(data: bytes) -> Sides:
    kind = data[12:16]
    if kind == b"VP8X":
        return 1 + _three_bytes(data, 24), 1 + _three_bytes(data, 27)
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    width, height = struct.unpack_from("<HH", data, 26)
    return width & 0x3FFF, height & 0x3FFF


def _three_bytes(data: bytes, at: int) -> int:
    if len(data) < at + 3:
        raise ValueError("cut off")
    return int.from_bytes(data[at : at + 3], "little")


def _tiff(data: bytes) -> Sides:
    order = "<" if data.startswith(b"II") else ">"
    (at,) = struct.unpack_from(order + "I", data, 4)
    (count,) = struct.unpack_from(order + "H", data, at)
    found: dict[int, int] = {}
    for index in range(min(count, MOST_PARTS)):
        entry = at + 2 + 12 * index
        tag, kind = struct.unpack_from(order + "HH", data, entry)
        value = order + ("H" if kind == TIFF_SHORT else "I")
        (found[tag],) = struct.unpack_from(value, data, entry + 8)
    return found[TIFF_WIDTH], found[TIFF_HEIGHT]


def _jpeg2000(data: bytes) -> Sides:
    if data.startswith(J2K):
        # The reference grid less the offset of the image on it.
        width, height, left, top = struct.unpack_from(">IIII", data, 8)
        return width - left, height - top
    height, width = struct.unpack_from(">II", data, data.index(b"ihdr", 0, MOST_BOX_BYTES) + 4)
    return width, height


def _avif(data: bytes) -> Sides:
    """The largest of the sizes that are named: those of a thumbnail and of tiles are there, too."""
    at, sizes = 0, []
    while (at := data.find(b"ispe", at, MOST_BOX_BYTES)) >= 0:
        width, height = struct.unpack_from(">II", data, at + 8)
        sizes.append((width, height))
        at += 4
    return max(sizes, key=lambda sides: sides[0] * sides[1])


READERS = (
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "PNG", _png),
    (re.compile(rb"\xff\xd8"), "JPEG", _jpeg),
    (re.compile(rb"GIF8[79]a"), "GIF", _gif),
    (re.compile(rb"BM"), "BMP", _bmp),
    (re.compile(rb"RIFF.{4}WEBP", re.DOTALL), "WEBP", _webp),
    (re.compile(rb"II\*\0|MM\0\*"), "TIFF", _tiff),
    (re.compile(rb"\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51"), "JPEG2000", _jpeg2000),
    (re.compile(rb".{4}ftyp", re.DOTALL), "AVIF", _avif),
)
