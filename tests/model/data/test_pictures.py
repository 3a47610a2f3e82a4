from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from model.data.pictures import UnreadableImage, read_image, read_size
from tests.model.conftest import noise

# How a camera that was held so stores the image: what undoes each EXIF orientation.
STORED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_an_image_is_read_upright_and_its_size_from_the_header(
    tmp_path: Path, orientation: int, suffix: str
) -> None:
    upright, method = noise((20, 45)), STORED[orientation]
    stored = upright if method is None else upright.transpose(method)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    path = tmp_path / f"image.{suffix}"
    stored.save(path, exif=exif)
    assert read_size(path) == (20, 45)
    assert np.array_equal(np.asarray(read_image(path)), np.asarray(upright))


def test_a_header_gives_a_turned_jpegs_upright_size(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    noise((20, 45)).save(tmp_path / "a.jpg", exif=exif)
    upright = read_image(tmp_path / "a.jpg")
    assert read_size(tmp_path / "a.jpg") == (upright.height, upright.width) == (45, 20)


def test_transparency_is_laid_on_white(tmp_path: Path) -> None:
    pixels = np.full((4, 6, 4), (200, 10, 10, 255), dtype=np.uint8)
    pixels[:, 3:, 3] = 0
    Image.fromarray(pixels).save(tmp_path / "a.png")
    rgb = np.asarray(read_image(tmp_path / "a.png"))
    assert (rgb[:, :3] == (200, 10, 10)).all()
    assert (rgb[:, 3:] == 255).all()


def test_sixteen_bit_gray_keeps_its_range(tmp_path: Path) -> None:
    gray = np.linspace(0, 65535, 24).round().astype(np.uint16).reshape(4, 6)
    Image.fromarray(gray).save(tmp_path / "a.png")
    rgb = np.asarray(read_image(tmp_path / "a.png"))
    assert rgb.shape == (4, 6, 3)
    assert np.abs(rgb - gray[..., None] / 257).max() <= 0.5


def test_pixels_without_a_known_range_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((4, 6), dtype=np.float32)).save(tmp_path / "a.tiff")
    with pytest.raises(UnreadableImage, match=r"a\.tiff.*mode F"):
        read_image(tmp_path / "a.tiff")


def test_a_truncated_image_has_a_size_and_no_pixels(tmp_path: Path) -> None:
    noise((60, 90)).save(tmp_path / "whole.jpg")
    path = tmp_path / "half.jpg"
    path.write_bytes((tmp_path / "whole.jpg").read_bytes()[:2000])
    assert read_size(path) == (60, 90)
    with pytest.raises(UnreadableImage, match=r"half\.jpg.*truncated"):
        read_image(path)


def test_a_file_that_is_no_image_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_text("not an image")
    with pytest.raises(UnreadableImage, match=r"a\.jpg"):
        read_size(tmp_path / "a.jpg")
