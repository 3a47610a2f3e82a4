"""Bytes of a photograph to a frame that the model takes. Where pixels come from, and all of it.

    bytes -> header (limits hold here) -> decoded -> upright -> RGB -> resized -> frame

Decisions: EXIF orientation is applied; the first frame of an animation and the first page of a TIFF
are taken; transparency is laid on white, as a page shows it; 16-bit gray is divided by 257;
embedded colour profiles are ignored, as they are in training. A truncated file is refused, not
filled with gray.

Sizes are (height, width). A frame is uint8 [3, H, W], RGB, content top-left, the rest zero. The
resize rule is that of docs/architecture.md, and `model/transforms.py` has it too: keep the two
alike.
"""

import io
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from service.errors import InvalidImage, TooLarge, UnsupportedMediaType
from service.manifest import ResizeRule

Size = tuple[int, int]

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "AVIF", "JPEG2000")
WHITE = (255, 255, 255, 255)
SIXTEEN_BIT = {"I;16", "I;16L", "I;16B", "I;16N"}
# Modes whose values have no agreed range (float and 32-bit scientific TIFFs).
WITHOUT_RANGE = {"I", "F"}

# EXIF 2.32, table 4.6.4 A: how to turn stored pixels upright. 1, absent and unknown: as they are.
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class Frame:
    """A photograph as the model takes it.

    Attributes:
        pixels: uint8 [3, H, W] with (H, W) = `bucket`, RGB; content top-left, the rest zero.
        content: (height, width) of the resized photograph inside the frame.
        original: (height, width) of the upright photograph.
        bucket: (height, width) of the frame.
    """

    pixels: NDArray[np.uint8]
    content: Size
    original: Size
    bucket: Size


@dataclass(frozen=True)
class Framing:
    """What a model wants of its frames, and the most pixels that a photograph may have."""

    rule: ResizeRule
    buckets: Sequence[Size]
    max_pixels: int


def load_frame(data: bytes, framing: Framing) -> Frame:
    """The photograph in `data`, upright, in RGB, resized and placed in its bucket.

    Raises:
        InvalidImage: no picture, or a damaged one.
        UnsupportedMediaType: a picture whose pixels have no meaning as RGB.
        TooLarge: more pixels than the limit; found in the header, before anything is decoded.
    """
    return frame_of(decode_image(data, framing.max_pixels), framing)


def frame_of(image: Image.Image, framing: Framing) -> Frame:
    """The upright RGB picture, resized and placed in its bucket."""
    original = (image.height, image.width)
    content = resized_size(original, framing.rule)
    resized = resize(image, content, framing.rule)
    bucket = choose_bucket(content, framing.buckets)
    return Frame(place(resized, bucket), content, original, bucket)


def decode_image(data: bytes, max_pixels: int) -> Image.Image:
    """The photograph in `data`, upright, mode RGB. Raises as `load_frame`."""
    image = open_image(data)
    if image.width * image.height > max_pixels:
        raise _too_many_pixels(f"{image.width} x {image.height}", max_pixels)
    if image.mode in WITHOUT_RANGE:
        raise UnsupportedMediaType(f"pixels of mode {image.mode} have no agreed range as colours")
    try:
        image.load()
        orientation = _orientation(image)
        return _turned(to_rgb(image), orientation)
    except MemoryError:
        raise
    # Pillow's decoders raise whatever their parsers met: OSError, SyntaxError, struct.error, ...
    except Exception as error:
        raise InvalidImage(f"the {image.format} image is damaged or incomplete") from error


def open_image(data: bytes) -> Image.Image:
    """The picture in `data` with its header read and nothing decoded. Raises as `load_frame`."""
    if not data:
        raise InvalidImage("expected a picture, got 0 bytes")
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise TooLarge("the image has more pixels than can be read", reason="pixels") from error
    except UnidentifiedImageError as error:
        raise InvalidImage(f"expected a picture, one of {', '.join(FORMATS)}") from error
    except Exception as error:  # as in decode_image
        raise InvalidImage("the header of the image is damaged") from error


def to_rgb(image: Image.Image) -> Image.Image:
    """The picture in mode RGB: 16-bit gray scaled to 8, transparency laid on white."""
    if image.mode in SIXTEEN_BIT:
        gray = (np.asarray(image).astype(np.uint32) + 128) // 257  # 65535 -> 255, rounded
        return Image.fromarray(gray.astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, WHITE), rgba).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def resized_size(original: Size, rule: ResizeRule) -> Size:
    """(height, width) that content of size `original` has in the frame."""
    scale = min(rule.short_side / min(original), rule.max_side / max(original))
    half = 0.5 if rule.rounding == "round" else 0.0
    height, width = (max(1, math.floor(side * scale + half)) for side in original)
    return height, width


def resize(image: Image.Image, content: Size, rule: ResizeRule) -> Image.Image:
    """The RGB picture at size `content`: Pillow's antialiased bilinear filter, or plain bilinear."""
    height, width = content
    if rule.interpolation == "pillow-bilinear":
        return image.resize((width, height), Image.Resampling.BILINEAR)
    # From output to input positions. In floats, because Pillow's transform drops the fractions of 8-bit pixels.
    matrix = (image.width / width, 0.0, 0.0, 0.0, image.height / height, 0.0)
    method, filtering = Image.Transform.AFFINE, Image.Resampling.BILINEAR
    bands = [
        b.convert("F").transform((width, height), method, matrix, filtering) for b in image.split()
    ]
    pixels = np.stack([np.asarray(band) for band in bands], axis=-1)
    return Image.fromarray(np.rint(pixels).astype(np.uint8))


def choose_bucket(content: Size, buckets: Sequence[Size]) -> Size:
    """The smallest bucket, by area and then by order, that holds `content`."""
    holding = [b for b in buckets if b[0] >= content[0] and b[1] >= content[1]]
    assert holding, f"{content} fits no bucket: the manifest's check should have refused this model"
    return min(holding, key=math.prod)


def place(image: Image.Image, bucket: Size) -> NDArray[np.uint8]:
    """uint8 [3, H, W] with (H, W) = `bucket`: the RGB picture top-left, the rest zero."""
    frame = np.zeros((3, *bucket), np.uint8)
    frame[:, : image.height, : image.width] = np.asarray(image).transpose(2, 0, 1)  # (h, w, 3)
    return frame


def prepare_pillow() -> None:
    """Loads Pillow's decoders, and drops its warnings in this process.

    An odd file is its sender's affair, not the operator's; and where Pillow warns of too many
    pixels, we refuse.
    """
    Image.init()
    warnings.filterwarnings("ignore", module=r"PIL\.")


def _too_many_pixels(size: str, max_pixels: int) -> TooLarge:
    return TooLarge(f"the image has {size} pixels; at most {max_pixels} are read", reason="pixels")


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation; 1 when there is none, or none that can be read."""
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # as in decode_image: damaged EXIF is no reason to refuse the pixels
        return 1


def _turned(image: Image.Image, orientation: int) -> Image.Image:
    method = UPRIGHT.get(orientation)
    return image if method is None else image.transpose(method)
