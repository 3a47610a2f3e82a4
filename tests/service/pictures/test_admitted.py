"""Admission to decoding: what the header alone is refused for."""

import io

import pytest
from PIL import Image

from service.errors import InvalidImage, TooLarge, UnsupportedMediaType
from service.pictures.admitted import FORMATS, admitted_image
from service.pictures.header import MOST_PARTS, header
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


@pytest.mark.parametrize("size", [(65_536, 1), (1, 65_536)])
def test_a_side_longer_than_a_jpeg_can_have_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(TooLarge, match="at most 65535 a side") as caught:
        admitted_image(png(*size), MAX_PIXELS)
    assert caught.value.reason == "pixels"
    assert admitted_image(png(65_535, 1), MAX_PIXELS).size == (1, 65_535)


def test_the_sides_of_what_hides_them_from_our_own_reading_are_refused_too() -> None:
    data = encoded(plain(50, 60, (1, 2, 3)), "JPEG")
    hidden = data[:2] + b"\xff\xfe\0\x02" * (MOST_PARTS + 1) + data[2:]
    assert header(hidden) is None
    with pytest.raises(TooLarge):
        admitted_image(hidden, 50 * 60 - 1)


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
