"""Which images are admitted to decoding: a format that is read, few enough pixels, pixels that mean colours.

All of it stands in the header, so that a refusal costs nothing.
"""

import io

from PIL import Image, UnidentifiedImageError

from service.errors import InvalidImage, TooLarge, UnsupportedMediaType
from service.pictures.header import header

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "AVIF", "JPEG2000")

# What a JPEG can have at most. A row costs as much as several pixels, also one of a single pixel.
MAX_SIDE = 65_535

# Modes whose values have no agreed range (float and 32-bit scientific TIFFs).
WITHOUT_RANGE = {"I", "F"}


def admitted_image(data: bytes, max_pixels: int) -> Image.Image:
    """The image in `data`, with its header read and nothing decoded.

    Raises:
        InvalidImage: no image of `FORMATS`, or a damaged header.
        TooLarge: more than `max_pixels`, or a side of more than `MAX_SIDE`.
        UnsupportedMediaType: an image whose pixels have no meaning as RGB.
    """
    said = header(data)
    if said is not None:
        # Before Pillow allocates anything for it.
        refuse_large(said.width, said.height, max_pixels)
    image = _opened(data)
    refuse_large(image.width, image.height, max_pixels)
    if image.mode in WITHOUT_RANGE:
        raise UnsupportedMediaType(f"pixels of mode {image.mode} have no agreed range as colours")
    return image


def refuse_large(width: int, height: int, max_pixels: int) -> None:
    """Raises TooLarge for more than `max_pixels`, and for a side of more than `MAX_SIDE`."""
    if width * height > max_pixels:
        raise TooLarge(
            f"the image has {width} x {height} pixels; at most {max_pixels} are read",
            reason="pixels",
        )
    if max(width, height) > MAX_SIDE:
        raise TooLarge(
            f"the image has {width} x {height} pixels; at most {MAX_SIDE} a side are read",
            reason="pixels",
        )


def _opened(data: bytes) -> Image.Image:
    if not data:
        raise InvalidImage("expected an image, got 0 bytes")
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise TooLarge("the image has more pixels than can be read", reason="pixels") from error
    except UnidentifiedImageError as error:
        raise InvalidImage(f"expected an image, one of {', '.join(FORMATS)}") from error
    # Pillow's parsers raise whatever they met: OSError, SyntaxError, struct.error, ...
    except Exception as error:
        raise InvalidImage("the header of the image is damaged") from error
