"""Admission to decoding: what the header alone is refused for."""

import io

import pytest
from PIL import Image

from service.errors import InvalidImage, TooLarge, UnsupportedMediaType
from service.pictures.admitted import FORMATS, admitted_image
from tests.service.images import encoded, plain, png

MAX_PIXELS = 50_000_000


@pytest.mark.parametrize("kind", ["PPM", "ICO", "PCX", "EPS"])
def test_no_other_format_is_read(kind: str) -> None:
    with pytest.raises(InvalidImage, match=FORMATS[0]):
        admitted_image(encoded(plain(16, 16, (1, 2, 3)), kind), MAX_PIXELS)


def test_pixels_without_a_range_are_an_unsupported_type() -> None:
    with pytest.raises(UnsupportedMediaType, match="mode F"):
        admitted_image(encoded(Image.new("F", (3, 2)), "TIFF"), MAX_PIXELS)


def test_more_pixels_than_the_limit_are_refused_before_anything_is_decoded() -> None:
    data = png(100, 101)
    header_only = data[:60]
    with pytest.raises(TooLarge, match="101 x 100 pixels; at most 10099") as caught:
        admitted_image(header_only, 10_099)
    assert caught.value.reason == "pixels"
    assert admitted_image(data, 10_100).size == (101, 100)


def test_a_bomb_is_refused() -> None:
    bomb = io.BytesIO(b"GIF89a\xff\xff\xff\xff\0\0\0,\0\0\0\0\xff\xff\xff\xff\0\x02\x02D\x01\0;")
    with pytest.raises(TooLarge):
        admitted_image(bomb.getvalue(), MAX_PIXELS)


@pytest.mark.parametrize(
    "data", [b"", b"\0", b"<html></html>", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"]
)
def test_what_is_no_image_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidImage):
        admitted_image(data, MAX_PIXELS)
