import io
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from service.artifact.manifest import Manifest, ResizeRule
from service.errors import InvalidImage, ServiceError, TooLarge, UnsupportedMediaType
from service.pictures.decoding import FORMATS, decode_image, to_rgb
from service.pictures.framing import Framing, choose_bucket, load_frame, place, resized_size
from tests.places import SHARED
from tests.service.photographs import encoded, noise, plain, png
from tests.service.tiny_model import MANIFEST

PHOTOS = SHARED / "data" / "photos"
MAX_PIXELS = 50_000_000
TINY = Manifest.model_validate(MANIFEST, strict=False)
FRAMING = Framing(TINY.resize, TINY.buckets, MAX_PIXELS)
# The rule and buckets of a real model, in which nothing of the tiny one's happens to coincide.
RULE = ResizeRule(short_side=320, max_side=576, rounding="round", interpolation="pillow-bilinear")

sides = st.integers(1, 4000)
needs_photos = pytest.mark.skipif(not PHOTOS.is_dir(), reason="needs ../shared/data/photos")


def decoded(data: bytes) -> np.ndarray:
    return np.asarray(decode_image(data, MAX_PIXELS))


@pytest.mark.parametrize(
    ("original", "content"),
    [
        ((300, 451), (320, 481)),  # 451 * 320 / 300 = 481.07
        ((451, 300), (481, 320)),
        ((427, 640), (320, 480)),  # 479.6
        ((1, 1), (320, 320)),
        ((20, 2000), (6, 576)),  # the long side rules: 576 / 2000 * 20 = 5.76
        ((2000, 20), (576, 6)),
        ((1, 4000), (1, 576)),  # 0.14 becomes 1, never 0
        ((64, 77), (320, 385)),
        ((128, 201), (320, 503)),  # 502.5 is rounded up, not to even
        ((320, 576), (320, 576)),
    ],
)
def test_the_resize_rule_by_hand(original: tuple[int, int], content: tuple[int, int]) -> None:
    assert resized_size(original, RULE) == content


@given(sides, sides)
def test_a_resized_size_keeps_to_both_sides_and_turns_with_the_photograph(h: int, w: int) -> None:
    height, width = resized_size((h, w), RULE)
    assert 1 <= min(height, width) <= RULE.short_side
    assert max(height, width) <= RULE.max_side
    assert resized_size((w, h), RULE) == (width, height)


def test_the_smallest_bucket_that_holds_is_chosen_and_the_first_of_equals() -> None:
    buckets = [(96, 32), (64, 64), (32, 96), (32, 64), (64, 32)]
    assert choose_bucket((20, 60), buckets) == (32, 64)
    assert choose_bucket((60, 20), buckets) == (64, 32)
    assert choose_bucket((30, 30), buckets) == (32, 64)
    assert choose_bucket((40, 40), buckets) == (64, 64)


@given(st.integers(1, 32), st.integers(1, 96))
def test_a_frame_is_the_picture_top_left_and_zero_elsewhere(height: int, width: int) -> None:
    pixels = noise(height, width)
    frame = place(Image.fromarray(pixels), (32, 96))
    assert frame.shape == (3, 32, 96)
    assert frame.dtype == np.uint8
    np.testing.assert_array_equal(frame[:, :height, :width].transpose(1, 2, 0), pixels)
    assert frame.sum() == pixels.sum()


def test_a_frame_has_the_pixels_of_pillows_bilinear_resize() -> None:
    image = Image.fromarray(noise(300, 451))
    frame = load_frame(encoded(image), FRAMING)
    assert (frame.original, frame.content, frame.bucket) == ((300, 451), (32, 48), (32, 64))
    expected = np.asarray(image.resize((48, 32), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(frame.pixels[:, :32, :48].transpose(1, 2, 0), expected)
    assert not frame.pixels[:, :, 48:].any()


def test_one_pixel_makes_a_frame() -> None:
    frame = load_frame(png(1, 1, (9, 8, 7)), FRAMING)
    assert (frame.original, frame.content) == ((1, 1), (32, 32))
    assert frame.pixels[:, 31, 31].tolist() == [9, 8, 7]


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "GIF", "JPEG", "WEBP", "AVIF", "JPEG2000"])
def test_every_format_is_read(kind: str) -> None:
    pixels = decoded(encoded(plain(12, 17, (200, 100, 50)), kind))
    assert pixels.shape == (12, 17, 3)
    assert np.abs(pixels.astype(int) - (200, 100, 50)).max() <= 6  # the lossy ones


@pytest.mark.parametrize("kind", ["PPM", "ICO", "PCX", "EPS"])
def test_no_other_format_is_read(kind: str) -> None:
    with pytest.raises(InvalidImage, match=FORMATS[0]):
        decode_image(encoded(plain(16, 16, (1, 2, 3)), kind), MAX_PIXELS)


@pytest.mark.parametrize("orientation", range(9))
def test_the_orientation_turns_the_picture_upright(orientation: int) -> None:
    upright = Image.fromarray(noise(5, 9))
    # How a camera stores it: the inverse of what turns it upright.
    stored = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }.get(orientation)
    image = upright if stored is None else upright.transpose(stored)
    exif = Image.Exif()
    exif[0x0112] = orientation
    np.testing.assert_array_equal(decoded(encoded(image, "PNG", exif=exif)), upright)


@pytest.mark.parametrize("exif", [b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff", b""])
def test_damaged_exif_is_no_reason_to_refuse(exif: bytes) -> None:
    assert decoded(encoded(plain(4, 6, (1, 2, 3)), "JPEG", exif=exif)).shape == (4, 6, 3)


def test_transparency_is_laid_on_white() -> None:
    image = plain(2, 3, (200, 0, 0)).convert("RGBA")
    image.putpixel((0, 0), (10, 20, 30, 0))
    image.putpixel((1, 0), (0, 0, 0, 127))
    pixels = decoded(encoded(image))
    assert pixels[0, 0].tolist() == [255, 255, 255]
    assert pixels[0, 1].tolist() == [128, 128, 128]
    assert pixels[1, 2].tolist() == [200, 0, 0]


def test_a_transparent_palette_and_gray_with_alpha_are_laid_on_white() -> None:
    palette = plain(2, 3, (0, 0, 0)).quantize(2)
    assert decoded(encoded(palette, transparency=0))[0, 0].tolist() == [255, 255, 255]
    gray = Image.new("LA", (3, 2), (7, 0))
    assert decoded(encoded(gray))[0, 0].tolist() == [255, 255, 255]


@pytest.mark.parametrize(
    ("value", "expected"), [(0, 0), (128, 0), (129, 1), (32896, 128), (65535, 255)]
)
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_gray_is_divided_by_257(value: int, expected: int, kind: str) -> None:
    image = Image.fromarray(np.full((3, 5), value, np.uint16))
    pixels = decoded(encoded(image, kind))
    assert pixels.shape == (3, 5, 3)
    assert set(pixels.ravel().tolist()) == {expected}


def test_big_endian_gray_is_the_same_gray() -> None:
    values = np.arange(15, dtype=np.uint16).reshape(3, 5) * 4000
    little = Image.fromarray(values)
    big = Image.frombytes("I;16B", (5, 3), values.astype(">u2").tobytes())
    np.testing.assert_array_equal(to_rgb(big), to_rgb(little))


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "YCbCr"])
def test_other_modes_keep_their_colours(mode: str) -> None:
    kind = "JPEG" if mode in ("CMYK", "YCbCr") else "PNG"
    data = encoded(plain(8, 11, (255, 255, 255)).convert(mode), kind)
    assert decoded(data).min() >= 250


def test_the_first_frame_of_an_animation_is_taken() -> None:
    frames = [plain(4, 6, (255, 0, 0)), plain(4, 6, (0, 255, 0))]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert decoded(data)[0, 0].tolist() == [255, 0, 0]


def test_pixels_without_a_range_are_an_unsupported_type() -> None:
    with pytest.raises(UnsupportedMediaType, match="mode F"):
        decode_image(encoded(Image.new("F", (3, 2)), "TIFF"), MAX_PIXELS)


def test_more_pixels_than_the_limit_are_refused_before_anything_is_decoded() -> None:
    data = png(100, 101)
    header_only = data[:60]
    with pytest.raises(TooLarge, match="101 x 100 pixels; at most 10099") as caught:
        decode_image(header_only, 10_099)
    assert caught.value.reason == "pixels"
    assert decode_image(data, 10_100).size == (101, 100)


def test_a_bomb_is_refused() -> None:
    bomb = io.BytesIO(b"GIF89a\xff\xff\xff\xff\0\0\0,\0\0\0\0\xff\xff\xff\xff\0\x02\x02D\x01\0;")
    with pytest.raises(TooLarge):
        decode_image(bomb.getvalue(), MAX_PIXELS)


@pytest.mark.parametrize(
    "data", [b"", b"\0", b"<html></html>", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"]
)
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidImage):
        decode_image(data, MAX_PIXELS)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "AVIF"])
def test_half_a_file_is_refused_and_not_filled_up(kind: str) -> None:
    data = encoded(Image.fromarray(noise(40, 60)), kind)
    with pytest.raises(InvalidImage):
        decode_image(data[: len(data) // 2], MAX_PIXELS)


@given(
    st.sampled_from(["PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "JPEG2000"]),
    st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=8),
)
def test_damage_is_survived_or_refused_and_nothing_else(
    kind: str, damage: list[tuple[int, int]]
) -> None:
    data = bytearray(encoded(Image.fromarray(noise(9, 14)), kind))
    for position, value in damage:
        data[position % len(data)] = value
    try:
        frame = load_frame(bytes(data), Framing(TINY.resize, TINY.buckets, 10_000))
    except ServiceError:
        return
    assert frame.pixels.shape == (3, *frame.bucket)


def entries() -> list[dict[str, object]]:
    if not PHOTOS.is_dir():
        return []
    found: list[dict[str, object]] = json.loads((PHOTOS / "manifest.json").read_text())["files"]
    return found


@needs_photos
@pytest.mark.parametrize("entry", entries(), ids=lambda entry: str(entry["file"]))
def test_odd_and_damaged_photographs(entry: dict[str, object]) -> None:
    data = (PHOTOS / str(entry["file"])).read_bytes()
    if entry["expect"] == "reject":
        with pytest.raises((InvalidImage, TooLarge)):
            decode_image(data, MAX_PIXELS)
        return
    image = decode_image(data, MAX_PIXELS)
    assert image.mode == "RGB"
    assert list(image.size) == entry["upright_size"]
