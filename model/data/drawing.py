"""Photographs with boxes drawn on them, and sheets of several."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path

from PIL import Image, ImageDraw

# Of a class by its label: told apart, and seen on light and dark.
COLOURS = ("#e6194b", "#3cb44b", "#4363d8", "#f58231", "#911eb4", "#42d4f4", "#f032e6", "#bfef45")
# The longest side of a photograph on a sheet, and how many are across.
_SIDE, _ACROSS, _GAP = 360, 4, 6


@dataclass(frozen=True)
class Mark:
    """A box x1 y1 x2 y2 in pixels with its text, in the colour of its label."""

    box: Sequence[float]
    text: str
    label: int


def drawn(image: Image.Image, marks: Sequence[Mark]) -> Image.Image:
    """The RGB image, made small enough for a sheet, with the marks on it."""
    scale = min(1.0, _SIDE / max(image.size))
    small = image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))))
    pen = ImageDraw.Draw(small)
    for mark in marks:
        colour = COLOURS[mark.label % len(COLOURS)]
        x1, y1, x2, y2 = (side * scale for side in mark.box)
        pen.rectangle((x1, y1, max(x1, x2), max(y1, y2)), outline=colour, width=2)
        if mark.text:
            place = (x1 + 1, max(0.0, y1 - 11))
            pen.rectangle(pen.textbbox(place, mark.text), fill=colour)
            pen.text(place, mark.text, fill="white")
    return small


def save_sheet(path: Path, pictures: Sequence[Image.Image], across: int = _ACROSS) -> None:
    """Writes pictures side by side, `across` in a row, as one PNG or JPEG."""
    across = min(across, len(pictures))
    down = ceil(len(pictures) / across)
    width = max(picture.width for picture in pictures) + _GAP
    height = max(picture.height for picture in pictures) + _GAP
    sheet = Image.new("RGB", (across * width, down * height), "white")
    for number, picture in enumerate(pictures):
        sheet.paste(picture, (number % across * width, number // across * height))
    sheet.save(path, quality=85)
