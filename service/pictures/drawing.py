"""A photograph with boxes and labels on it, in the bytes of a picture.

A box is a bright line on a wider dark one, a label dark text on a bright ground: one of the two is seen on any
photograph. A class keeps its colour, whatever else is in the picture; service/http/page/canvas.js draws the same ones.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from PIL import Image, ImageColor, ImageDraw, ImageFont

from service.pictures.decoding import decode_image

PictureType = Literal["image/jpeg", "image/png", "image/webp"]
Colour = tuple[int, int, int]
# What Pillow is told; quality where the eye finds no fault, and of PNG's levels one that does not take seconds.
FORMATS: dict[PictureType, dict[str, Any]] = {
    "image/jpeg": {"format": "JPEG", "quality": 90},
    "image/png": {"format": "PNG", "compress_level": 3},
    "image/webp": {"format": "WEBP", "quality": 85, "method": 2},
}
# What libjpeg, PNG's header and libwebp can hold.
MOST_SIDE: dict[PictureType, int] = {
    "image/jpeg": 65_500,
    "image/png": 2**31 - 1,
    "image/webp": 16_383,
}
# The golden angle: neighbouring classes are far apart.
GOLDEN_ANGLE = 137.508
DARK = (0, 0, 0)


@dataclass(frozen=True)
class Mark:
    """A box in pixels of the upright photograph, what is written at it, and the label of its class."""

    box: tuple[float, float, float, float]
    text: str
    label: int


def drawn_picture(
    data: bytes, marks: Sequence[Mark], picture_type: PictureType, max_pixels: int
) -> bytes:
    """The photograph in `data`, upright and in its own size, with `marks`, best first. Raises as `decode_image`."""
    image = decode_image(data, max_pixels)
    draw_marks(image, marks)
    stream = io.BytesIO()
    image.save(stream, **FORMATS[picture_type])
    return stream.getvalue()


def draw_marks(image: Image.Image, marks: Sequence[Mark]) -> None:
    """Draws the marks on the RGB image; the first, the best, on top."""
    unit = line_width(image.width, image.height)
    font = ImageFont.load_default(6 * unit)
    pen = ImageDraw.Draw(image)
    for mark in reversed(marks):
        colour = class_colour(mark.label)
        _outline(pen, mark.box, colour, unit)
        _write(pen, mark, font, image.width)


def class_colour(label: int) -> Colour:
    """The colour of a class, on which dark text can be read."""
    hue = round(label * GOLDEN_ANGLE % 360)
    red, green, blue = ImageColor.getrgb(f"hsl({hue}, 85%, 70%)")[:3]
    return red, green, blue


def line_width(width: int, height: int) -> int:
    """Of a box's line, so that it is seen when the whole picture is."""
    return max(2, round(min(width, height) / 180))


def _outline(
    pen: ImageDraw.ImageDraw, box: tuple[float, float, float, float], colour: Colour, unit: int
) -> None:
    x1, y1, x2, y2 = box
    # Half of the line on each side of the edge; Pillow draws inwards.
    half = unit / 2
    for grown, width, line in ((half + 1, unit + 2, DARK), (half, unit, colour)):
        around = (x1 - grown, y1 - grown, x2 + grown, y2 + grown)
        pen.rectangle(around, outline=line, width=width)


def _write(
    pen: ImageDraw.ImageDraw,
    mark: Mark,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    width: int,
) -> None:
    left, top, right, bottom = pen.textbbox((0, 0), mark.text, font=font)
    pad = max(2, round((bottom - top) / 4))
    wide, high = right - left + 2 * pad, bottom - top + 2 * pad
    x = max(0.0, min(mark.box[0], width - wide))
    above = mark.box[1] - high
    y = above if above >= 0 else max(0.0, mark.box[1])
    pen.rectangle((x, y, x + wide, y + high), fill=class_colour(mark.label), outline=DARK)
    pen.text((x + pad - left, y + pad - top), mark.text, fill=DARK, font=font)
