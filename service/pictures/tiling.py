"""Where a large photograph is cut into tiles, so that what is small in it is seen larger.

A window is (top, left, height, width) in pixels of the upright photograph. Tiles are squares, or as wide or high as the
photograph, and overlap by a quarter of their side: an object not larger than that is whole in at least one of them.
"""

from dataclasses import dataclass
from math import ceil
from typing import Literal

from service.pictures.decoding import decode_image
from service.pictures.framing import Frame, Framing, Rule, Size, decoded_for_frame, frame_of
from service.pictures.header import header

Window = tuple[int, int, int, int]
# How many tiles along the longer side: none, as many as it takes, or a number.
Tiles = Literal["off", "auto"] | int
OVERLAP = 0.25
MOST = 4
# Below this scale of the whole photograph in its frame tiles show more; above, they cost more than they show.
LARGE = 0.5


@dataclass(frozen=True)
class Shot:
    """A frame of a photograph, or of the window of it that is a tile."""

    frame: Frame
    window: Window | None


def load_shots(data: bytes, framing: Framing, tiles: Tiles) -> list[Shot]:
    """The whole image in `data`, then its tiles, which are cut out of all of its pixels. Raises as `decode_reduced`."""
    image, original = decoded_for_frame(data, framing)
    shots = [Shot(frame_of(image, original, framing), None)]
    found = windows(original, framing.rule, tiles)
    # The whole needs fewer pixels than there are, and is the same with tiles as without.
    if found and (image.height, image.width) != original:
        image = decode_image(data, framing.max_pixels)
    for window in found:
        top, left, height, width = window
        tile = image.crop((left, top, left + width, top + height))
        shots.append(Shot(frame_of(tile, (height, width), framing), window))
    return shots


def costs_of(data: bytes, max_pixels: int, rule: Rule, tiles: Tiles) -> list[int]:
    """Of decoding, by the header of `data`: of the whole, then 0 for each tile, which is cut out of it.

    One 0 for what will be refused before anything is decoded.
    """
    said = header(data)
    if said is None or said.width * said.height > max_pixels:
        return [0]
    return [said.cost] + [0] * len(windows((said.height, said.width), rule, tiles))


def windows(original: Size, rule: Rule, tiles: Tiles) -> list[Window]:
    """The tiles of a photograph of size `original`, row by row; none where the whole is enough."""
    count = _automatic(original, rule) if tiles == "auto" else 1 if tiles == "off" else tiles
    if count <= 1:
        return []
    height, width = original
    side = max(original) / (1 + (count - 1) * (1 - OVERLAP))
    return [
        (top, left, min(ceil(side), height), min(ceil(side), width))
        for top in _starts(height, side)
        for left in _starts(width, side)
    ]


def most_windows() -> int:
    """The most tiles that a photograph can have."""
    return MOST * MOST


def _automatic(original: Size, rule: Rule) -> int:
    scale = min(rule.short_side / min(original), rule.max_side / max(original))
    if scale > LARGE:
        return 1
    # As many as show the photograph in its own size.
    needed = ceil((max(original) / rule.short_side - 1) / (1 - OVERLAP)) + 1
    return min(MOST, needed)


def _starts(length: int, side: float) -> list[int]:
    """Where tiles of `side` begin along `length`, evenly."""
    if length <= side:
        return [0]
    count = max(2, ceil(round((length / side - 1) / (1 - OVERLAP), 6)) + 1)
    last = length - ceil(side)
    return [round(last * place / (count - 1)) for place in range(count)]
