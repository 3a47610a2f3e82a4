"""Upright RGB pixels to a frame that the model takes: resized, and placed in the bucket.

Sizes are (height, width). A frame is uint8 [3, H, W], RGB, content top-left, the rest zero. The
resize rule is that of docs/artifact.md; `model/` has it too (config/resize.py and
data/transforms.py), and a contract test keeps the two alike.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from service.pictures.decoding import decode_reduced

Size = tuple[int, int]
# A JPEG that is decoded at a part of its size has at least so many times the sides of its content.
SPARE = 2


@dataclass(frozen=True)
class Frame:
    """An image as the model takes it.

    Attributes:
        pixels: uint8 [3, H, W] with (H, W) = `bucket`, RGB; content top-left, the rest zero.
        content: (height, width) of the resized image inside the frame.
        original: (height, width) of the upright image.
        bucket: (height, width) of the frame.
    """

    pixels: NDArray[np.uint8]
    content: Size
    original: Size
    bucket: Size


class Rule(Protocol):
    """The manifest's rule. Not its class: a decoding process starts without pydantic in half the time."""

    @property
    def short_side(self) -> int:
        """What the shorter side becomes, unless the longer would be more than `max_side`."""

    @property
    def max_side(self) -> int:
        """The most that the longer side may become."""

    @property
    def rounding(self) -> str:
        """How a side becomes whole: round or floor."""

    @property
    def interpolation(self) -> str:
        """Which filter: pillow-bilinear or bilinear."""

    @property
    def decoding(self) -> str:
        """Of JPEGs: whole, or reduced where `SPARE` times the content is left."""


@dataclass(frozen=True)
class Framing:
    """What a model wants of its frames, and the most pixels that an image may have."""

    rule: Rule
    buckets: Sequence[Size]
    max_pixels: int


def load_frame(data: bytes, framing: Framing) -> Frame:
    """The image in `data`, upright, in RGB, resized and placed in its bucket. Raises as `decode_reduced`."""
    return frame_of(*decoded_for_frame(data, framing), framing)


def decoded_for_frame(data: bytes, framing: Framing) -> tuple[Image.Image, Size]:
    """The upright RGB image, as large as its frame needs it, and its own size. Raises as `decode_reduced`."""
    rule = framing.rule

    def least(size: Size) -> Size:
        height, width = resized_size(size, rule)
        return SPARE * height, SPARE * width

    return decode_reduced(data, framing.max_pixels, least if rule.decoding == "reduced" else None)


def frame_of(image: Image.Image, original: Size, framing: Framing) -> Frame:
    """The upright RGB image of an `original` size, resized and placed in its bucket."""
    content = resized_size(original, framing.rule)
    resized = resize(image, content, framing.rule)
    bucket = choose_bucket(content, framing.buckets)
    return Frame(place(resized, bucket), content, original, bucket)


def resized_size(original: Size, rule: Rule) -> Size:
    """(height, width) that content of size `original` has in the frame."""
    scale = min(rule.short_side / min(original), rule.max_side / max(original))
    half = 0.5 if rule.rounding == "round" else 0.0
    height, width = (max(1, math.floor(side * scale + half)) for side in original)
    return height, width


def resize(image: Image.Image, content: Size, rule: Rule) -> Image.Image:
    """The RGB image at size `content`: Pillow's antialiased bilinear filter, or plain bilinear."""
    height, width = content
    if rule.interpolation == "pillow-bilinear":
        return image.resize((width, height), Image.Resampling.BILINEAR)
    # From output to input positions. In floats, because Pillow's transform drops the fractions of 8-bit pixels.
    matrix = (image.width / width, 0.0, 0.0, 0.0, image.height / height, 0.0)
    method, filtering = Image.Transform.AFFINE, Image.Resampling.BILINEAR
    floats = [band.convert("F") for band in image.split()]
    bands = [band.transform((width, height), method, matrix, filtering) for band in floats]
    pixels = np.stack([np.asarray(band) for band in bands], axis=-1)
    return Image.fromarray(np.rint(pixels).astype(np.uint8))


def choose_bucket(content: Size, buckets: Sequence[Size]) -> Size:
    """The smallest bucket, by area and then by order, that holds `content`."""
    holding = [b for b in buckets if b[0] >= content[0] and b[1] >= content[1]]
    assert holding, f"{content} fits no bucket: the manifest's check should have refused this model"
    return min(holding, key=math.prod)


def place(image: Image.Image, bucket: Size) -> NDArray[np.uint8]:
    """uint8 [3, H, W] with (H, W) = `bucket`: the RGB image top-left, the rest zero."""
    frame = np.zeros((3, *bucket), np.uint8)
    # (h, w, 3) -> (3, h, w)
    frame[:, : image.height, : image.width] = np.asarray(image).transpose(2, 0, 1)
    return frame
