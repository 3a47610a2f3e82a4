"""Images that tests make for themselves."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from service.detector import SentImage
from service.errors import InvalidImage

Colour = tuple[int, int, int]


def noise(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """uint8 [height, width, 3] of random colours."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def plain(height: int, width: int, colour: Colour) -> Image.Image:
    """An image of one colour, which the tiny model reads exactly."""
    return Image.new("RGB", (width, height), colour)


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    """The bytes of `image` as a file of `kind`."""
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def png(height: int, width: int, colour: Colour = (255, 0, 0)) -> bytes:
    """A PNG file of one colour."""
    return encoded(plain(height, width, colour))


def sent(*contents: bytes | InvalidImage) -> list[SentImage]:
    """Images as a request brings them, without regions."""
    return [SentImage(content) for content in contents]


def endless_jpeg() -> bytes:
    """A valid progressive JPEG of 7000 x 7000 pixels in 280 KB that takes minutes: thousands of empty scans."""
    data = encoded(Image.new("L", (7000, 7000), 90), "JPEG", progressive=True)
    last_scan = data[data.rfind(b"\xff\xda") : -2]
    return data[:-2] + last_scan * 1200 + data[-2:]
