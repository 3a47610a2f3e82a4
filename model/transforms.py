"""Photographs to tensors: decoding, the resize rule, buckets, letterboxing, the horizontal flip.

The resize rule and the buckets are part of the artifact's contract (docs/architecture.md, "The
resize rule"): `service/image.py` states the rule a second time, and a contract test holds the two
together pixel by pixel. Training, evaluation and export take it from here.

    size    (height, width) in pixels, always in this order
    frame   the H x W array that an image is placed in, top-left; what the image leaves is zero
    bucket  a frame that inference may use; each image alone decides which, so that its
            neighbours in a batch cannot change its detections
    boxes   float32 [..., 4], x1 y1 x2 y2 pixels of the image that they accompany
"""

import math
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import ExifTags, Image, ImageOps
from torch import Tensor

Size = tuple[int, int]
Rounding = Literal["round", "floor"]
Interpolation = Literal["pillow-bilinear", "bilinear"]

# EXIF 2.32, table 4.6.4 A: how to turn stored pixels upright. 1, absent and unknown: as they are.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_QUARTER_TURNS = (5, 6, 7, 8)

# How much longer than its aspect says a default bucket is: 500 x 333 is not quite 3:2.
SLACK = 1.02

# What Pillow raises on damaged files; SyntaxError is its PNG reader's word for a bad chunk.
_DECODE_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    struct.error,
    Image.DecompressionBombError,
)


class UnreadableImage(ValueError):
    """A file that is no picture, is damaged, or has no meaning in 8-bit RGB."""


def read_size(path: Path) -> Size:
    """Return the size of the upright picture, from the file's header alone.

    Raises:
        UnreadableImage: the header cannot be read.
    """
    try:
        with Image.open(path) as image:
            width, height = image.size
            # Pillow gives a TIFF's size as it will be once its reader has turned the picture.
            turned = image.format != "TIFF" and _orientation(image) in _QUARTER_TURNS
    except _DECODE_ERRORS as error:
        raise UnreadableImage(f"{path}: {error}") from error
    return (width, height) if turned else (height, width)


def read_image(path: Path) -> Image.Image:
    """Return the picture as upright 8-bit RGB; of an animation, the first frame.

    The service decodes alike: transparency is laid on white, 16-bit gray scaled to 8 bits.

    Raises:
        UnreadableImage: the pixels cannot be decoded, or are 32-bit numbers without a known range.
    """
    try:
        with Image.open(path) as image:
            image.load()
            method = _UPRIGHT.get(_orientation(image))
            upright = image if method is None else image.transpose(method)
            return _rgb(upright)
    except _DECODE_ERRORS as error:
        raise UnreadableImage(f"{path}: {error}") from error


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation; 1 where there is none, or none that can be read."""
    try:
        # The base class's reader: PNG's own decodes all pixels to look for a tag behind them.
        return int(Image.Image.getexif(image).get(ExifTags.Base.Orientation, 1))
    except _DECODE_ERRORS:
        return 1


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode in ("I", "F"):
        raise ValueError(f"pixels of mode {image.mode} have no known range; convert them to 8 bits")
    if image.mode.startswith("I;16"):
        gray = (np.asarray(image).astype(np.uint32) + 128) // 257  # 65535 -> 255, rounded
        return Image.fromarray(gray.astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    return image.convert("RGB")


def resized_size(size: Size, short_side: int, max_side: int, rounding: Rounding = "round") -> Size:
    """Return the size that the resize rule gives to content of `size`.

    The shorter side becomes `short_side`, unless the longer would then pass `max_side`. Sides are rounded half up, or
    down: in float64 and torchvision's order of operations, which makes 799 of some shorter sides and not 800.

    Raises:
        ValueError: a side is less than one pixel.
    """
    if min(size) < 1:
        raise ValueError(f"an image has at least one pixel on each side, got {size}")
    scale = min(short_side / min(size), max_side / max(size))
    half = 0.5 if rounding == "round" else 0.0
    height, width = (max(1, math.floor(side * scale + half)) for side in size)
    return height, width


def resize_image(
    image: Image.Image, size: Size, interpolation: Interpolation = "pillow-bilinear"
) -> Image.Image:
    """Return the RGB image at `size`, with Pillow's antialiased bilinear filter or without antialiasing."""
    height, width = size
    if interpolation == "pillow-bilinear":
        return image.resize((width, height), Image.Resampling.BILINEAR)
    return _resize_plainly(image, size)


def _resize_plainly(image: Image.Image, size: Size) -> Image.Image:
    """As torch's `interpolate(mode="bilinear", align_corners=False)` on floats, rounded to 8 bits."""
    height, width = size
    # Output pixel centres to input positions; beyond the outermost centres the border's own value holds. On bands of
    # floats, for on bytes Pillow drops fractions.
    matrix = (image.width / width, 0.0, 0.0, 0.0, image.height / height, 0.0)
    bands = [
        band.convert("F").transform(
            (width, height), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR
        )
        for band in image.split()
    ]
    pixels = np.stack([np.asarray(band) for band in bands], axis=-1)
    return Image.fromarray(np.rint(pixels).astype(np.uint8))


def round_up(side: int, stride: int) -> int:
    """Return the smallest multiple of `stride` that is not less than `side`."""
    return -(-side // stride) * stride


def default_buckets(short_side: int, max_side: int, stride: int = 32) -> tuple[Size, ...]:
    """Return frames that hold every size which the resize rule can give, smallest area first.

    They are the square, 4:3, 3:2, 16:9 and the longest that the rule allows, in both orientations,
    rounded up to multiples of `stride`: what cameras make, and little padding for each. The
    oblong ones have room for pictures that are off their aspect by a pixel or a crop (`SLACK`).

    Raises:
        ValueError: `short_side` is not within 1..`max_side`.
    """
    if not 1 <= short_side <= max_side:
        raise ValueError(f"expected 1 <= short_side <= max_side, got {short_side} and {max_side}")
    short = round_up(short_side, stride)
    aspects = (1, SLACK * 4 / 3, SLACK * 3 / 2, SLACK * 16 / 9, max_side / short_side)
    long_sides = (
        resized_size((short_side, round(short_side * a)), short_side, max_side)[1] for a in aspects
    )
    frames = set()
    for long in (round_up(side, stride) for side in long_sides):
        frames |= {(short, long), (long, short)}
    return tuple(sorted(frames, key=lambda frame: (frame[0] * frame[1], frame)))


def choose_bucket(size: Size, buckets: Sequence[Size]) -> Size:
    """Return the bucket of smallest area that holds `size`; of equals, the first in the list.

    Raises:
        ValueError: no bucket holds it.
    """
    holding = [frame for frame in buckets if frame[0] >= size[0] and frame[1] >= size[1]]
    if not holding:
        raise ValueError(f"no bucket holds (height, width) {size}; there are {list(buckets)}")
    return min(holding, key=lambda frame: frame[0] * frame[1])


def image_tensor(image: Image.Image) -> Tensor:
    """Return the pixels of an RGB image, uint8 [3, height, width].

    Raises:
        ValueError: the image is not RGB.
    """
    if image.mode != "RGB":
        raise ValueError(f"expected an RGB image, got mode {image.mode}")
    # (height, width, 3) -> (3, height, width)
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()


def letterbox(image: Image.Image, frame: Size) -> Tensor:
    """Return the RGB image in the top-left corner of a frame, uint8 [3, H, W]; the rest is zero.

    Raises:
        ValueError: the frame does not hold the image, or the image is not RGB.
    """
    pixels = image_tensor(image)
    _, height, width = pixels.shape
    H, W = frame
    if height > H or width > W:
        raise ValueError(f"an image of {(height, width)} does not fit into a frame of {frame}")
    framed = torch.zeros((3, H, W), dtype=torch.uint8)
    framed[:, :height, :width] = pixels
    return framed


def scale_boxes(boxes: Tensor, size: Size, new_size: Size) -> Tensor:
    """Return the boxes of an image of `size` as they lie when it is resized to `new_size`.

    The ratios are applied in float64, so that a box within the image stays within it exactly.
    """
    y_ratio, x_ratio = new_size[0] / size[0], new_size[1] / size[1]
    ratios = torch.tensor([x_ratio, y_ratio, x_ratio, y_ratio], dtype=torch.float64)
    return (boxes.double() * ratios.to(boxes.device)).float()


def flip_horizontal(image: Image.Image, boxes: Tensor) -> tuple[Image.Image, Tensor]:
    """Return the mirror image and its boxes, in their order."""
    x1, y1, x2, y2 = boxes.unbind(-1)
    mirrored = torch.stack((image.width - x2, y1, image.width - x1, y2), dim=-1)
    return ImageOps.mirror(image), mirrored
