"""Bytes of an image to upright RGB pixels.

    bytes -> header (admitted.py's limits hold here) -> decoded -> upright -> RGB

Decisions: EXIF orientation is applied; the first frame of an animation and the first page of a TIFF
are taken; transparency is laid on white, as a page shows it; 16-bit gray is divided by 257;
embedded colour profiles are ignored, as they are in training. A truncated file is refused, not
filled with gray, unless all that it lacks is a JPEG's end marker. Where only a small copy is wanted a JPEG is
decoded at a part of its size. `model/data/pictures.py` decodes alike for training.
"""

import warnings
from collections.abc import Callable

import numpy as np
from PIL import ExifTags, Image

from service.errors import InvalidImage
from service.pictures.admitted import admitted_image
from service.pictures.jpeg_end import with_end

WHITE = (255, 255, 255, 255)
SIXTEEN_BIT = {"I;16", "I;16L", "I;16B", "I;16N"}

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
QUARTER_TURNS = {5, 6, 7, 8}


Size = tuple[int, int]  # (height, width)
# What libjpeg decodes at 1/8, 1/4 or 1/2 of its size; the second is what some phones write.
REDUCIBLE = {"JPEG", "MPO"}


def decode_image(data: bytes, max_pixels: int) -> Image.Image:
    """The image in `data`, upright, mode RGB. Raises as `decode_reduced`."""
    image, _ = decode_reduced(data, max_pixels, None)
    return image


def decode_reduced(
    data: bytes, max_pixels: int, least: Callable[[Size], Size] | None
) -> tuple[Image.Image, Size]:
    """The image in `data`, upright, mode RGB, and the size that it has whole.

    `least` says of a size which a JPEG of it must still have at least; None decodes it whole.

    Raises:
        InvalidImage: no image, or a damaged one.
        TooLarge: more than `max_pixels`; found before anything is decoded.
        UnsupportedMediaType: an image whose pixels have no meaning as RGB.
    """
    image = admitted_image(data, max_pixels)
    size = image.height, image.width
    try:
        if least is not None and image.format in REDUCIBLE:
            height, width = least(size)
            image.draft(None, (width, height))
        image = _loaded(image, data)
        orientation = _orientation(image)
        upright = size[::-1] if orientation in QUARTER_TURNS else size
        return _turned(to_rgb(image), orientation), upright
    except MemoryError:
        raise
    # Pillow's decoders raise whatever their parsers met: OSError, SyntaxError, struct.error, ...
    except Exception as error:
        raise InvalidImage(f"the {image.format} image is damaged or incomplete") from error


def _loaded(image: Image.Image, data: bytes) -> Image.Image:
    """The image of these bytes with its pixels, also when it is a JPEG that lacks only its end marker."""
    try:
        image.load()
    except OSError:
        whole = with_end(data)
        if whole is None:
            raise
        return whole
    return image


def to_rgb(image: Image.Image) -> Image.Image:
    """The image in mode RGB: 16-bit gray scaled to 8, transparency laid on white."""
    if image.mode in SIXTEEN_BIT:
        # 65535 -> 255, rounded
        gray = (np.asarray(image).astype(np.uint32) + 128) // 257
        return Image.fromarray(gray.astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, WHITE), rgba).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def prepare_pillow() -> None:
    """Loads Pillow's decoders, and drops its warnings in this process.

    An odd file is its sender's affair, not the operator's; and where Pillow warns of too many
    pixels, we refuse.
    """
    Image.init()
    warnings.filterwarnings("ignore", module=r"PIL\.")


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation; 1 when there is none, or none that can be read."""
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    # Damaged EXIF is no reason to refuse the pixels, whatever its parser raises.
    except Exception:
        return 1


def _turned(image: Image.Image, orientation: int) -> Image.Image:
    method = UPRIGHT.get(orientation)
    return image if method is None else image.transpose(method)
