"""Image files to upright 8-bit RGB pixels, and their sizes from the header alone.

size    (height, width) in pixels, always in this order
"""

import struct
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image

from model.config.resize import ResizeRule, Size
from model.data.faults import DataError
from model.data.jpeg_end import with_end

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
# What libjpeg decodes at 1/8, 1/4 or 1/2 of its size; the second is what some phones write.
_REDUCIBLE = ("JPEG", "MPO")
_QUARTER_TURNS = (5, 6, 7, 8)

# What Pillow raises on damaged files; SyntaxError is its PNG reader's word for a bad chunk.
_DECODE_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    struct.error,
    Image.DecompressionBombError,
)


class UnreadableImage(DataError):
    """A file that is no image, is damaged, or has no meaning in 8-bit RGB."""


def read_size(path: Path) -> Size:
    """The size of the upright image, from the file's header alone.

    Raises:
        UnreadableImage: the header cannot be read.
    """
    try:
        with Image.open(path) as image:
            width, height = image.size
            # Pillow gives a TIFF's size as it will be once its reader has turned the image.
            turned = image.format != "TIFF" and _orientation(image) in _QUARTER_TURNS
    except _DECODE_ERRORS as error:
        raise UnreadableImage(f"{path}: cannot be decoded: {error}") from error
    return (width, height) if turned else (height, width)


def read_image(path: Path, rule: ResizeRule | None = None) -> Image.Image:
    """The image as upright 8-bit RGB; of an animation, the first frame.

    Where `rule` is given and says so, a JPEG is decoded at a part of its size. The service decodes alike: transparency
    is laid on white, 16-bit gray scaled to 8 bits.

    Raises:
        UnreadableImage: the pixels cannot be decoded, or are 32-bit numbers without a known range.
    """
    try:
        with Image.open(path) as image:
            least = rule.least_decoded((image.height, image.width)) if rule else None
            if least and image.format in _REDUCIBLE:
                image.draft(None, least[::-1])
            loaded = _loaded(image, path)
            method = _UPRIGHT.get(_orientation(loaded))
            upright = loaded if method is None else loaded.transpose(method)
            return _rgb(upright)
    except _DECODE_ERRORS as error:
        raise UnreadableImage(f"{path}: cannot be decoded: {error}") from error


def _loaded(image: Image.Image, path: Path) -> Image.Image:
    """The image of that file with its pixels, also when it is a JPEG that lacks only its end marker."""
    try:
        image.load()
    except OSError:
        whole = with_end(path.read_bytes())
        if whole is None:
            raise
        return whole
    return image


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation; 1 where there is none, or none that can be read."""
    try:
        # The base class's reader: PNG's own decodes all pixels to look for a tag behind them.
        return int(Image.Image.getexif(image).get(ExifTags.Base.Orientation, 1))
    except _DECODE_ERRORS:
        return 1


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode in ("I", "F"):
        raise ValueError(f"pixels of mode {image.mode} have no known range; convert them to 8 bits")
    if image.mode.startswith("I;16"):
        # 65535 -> 255, rounded
        gray = (np.asarray(image).astype(np.uint32) + 128) // 257
        return Image.fromarray(gray.astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    return image.convert("RGB")
