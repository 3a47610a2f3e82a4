"""Which images are admitted to decoding: a format that is read, few enough pixels, pixels that mean colours.

All of it stands in the header, so that a refusal costs nothing.
"""

import io

from PIL import Image, UnidentifiedImageError

from service.errors import InvalidImage, TooLarge, UnsupportedMediaType

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "AVIF", "JPEG2000")

# Modes whose values have no agreed range (float and 32-bit scientific TIFFs).
WITHOUT_RANGE = {"I", "F"}


def admitted_image(data: bytes, max_pixels: int) -> Image.Image:
    """The image in `data`, with its header read and nothing decoded.

    Raises:
        InvalidImage: no image of `FORMATS`, or a damaged header.
        TooLarge: more than `max_pixels`.
        UnsupportedMediaType: an image whose pixels have no meaning as RGB.
    """
    image = _opened(data)
    if image.width * image.height > max_pixels:
        raise TooLarge(
            f"the image has {image.width} x {image.height} pixels; at most {max_pixels} are read",
            reason="pixels",
        )
    if image.mode in WITHOUT_RANGE:
        raise UnsupportedMediaType(f"pixels of mode {image.mode} have no agreed range as colours")
    return image


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
