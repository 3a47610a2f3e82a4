"""Decoding: every format and mode to the same upright RGB pixels, and damage to a refusal."""

import json

import numpy as np
import pytest
from PIL import Image

from service.errors import InvalidImage, TooLarge
from service.pictures.decoding import decode_image, to_rgb
from tests.places import SHARED
from tests.service.images import encoded, noise, plain

PHOTOS = SHARED / "data" / "photos"
MAX_PIXELS = 50_000_000

needs_photos = pytest.mark.skipif(not PHOTOS.is_dir(), reason="needs ../shared/data/photos")


def decoded(data: bytes) -> np.ndarray:
    return np.asarray(decode_image(data, MAX_PIXELS))


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "GIF", "JPEG", "WEBP", "AVIF", "JPEG2000"])
def test_every_format_is_read(kind: str) -> None:
    pixels = decoded(encoded(plain(12, 17, (200, 100, 50)), kind))
    assert pixels.shape == (12, 17, 3)
    assert np.abs(pixels.astype(int) - (200, 100, 50)).max() <= 6  # the lossy ones


@pytest.mark.parametrize("orientation", range(9))
def test_the_orientation_turns_the_image_upright(orientation: int) -> None:
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


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "AVIF"])
def test_half_a_file_is_refused_and_not_filled_up(kind: str) -> None:
    data = encoded(Image.fromarray(noise(40, 60)), kind)
    with pytest.raises(InvalidImage):
        decode_image(data[: len(data) // 2], MAX_PIXELS)


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
