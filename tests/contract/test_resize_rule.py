"""model/ and service/ each state how a photograph becomes a frame: they must agree to the pixel."""

from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from model.config import resize
from model.data import pictures, transforms
from service.artifact.manifest import ResizeRule
from service.pictures import framing

sides = st.integers(1, 900)
ROUNDINGS: tuple[resize.Rounding, ...] = get_args(resize.Rounding)
DECODINGS: tuple[resize.Decoding, ...] = get_args(resize.Decoding)
INTERPOLATIONS: tuple[resize.Interpolation, ...] = get_args(resize.Interpolation)


def as_served(rule: resize.ResizeRule) -> ResizeRule:
    return ResizeRule(
        short_side=rule.short_side,
        max_side=rule.max_side,
        rounding=rule.rounding,
        interpolation=rule.interpolation,
        decoding=rule.decoding,
    )


@given(sides, sides, st.integers(16, 400), st.integers(0, 400), st.sampled_from(ROUNDINGS))
def test_any_photograph_gets_the_same_size_and_bucket(
    height: int, width: int, short_side: int, more: int, rounding: resize.Rounding
) -> None:
    ours = resize.ResizeRule(short_side, short_side + more, rounding)
    size = ours.content_size((height, width))
    assert size == framing.resized_size((height, width), as_served(ours))
    assert ours.bucket(size) == framing.choose_bucket(size, ours.buckets)


MADE = {
    "landscape.jpg": ("RGB", (211, 97), {}),
    "turned.jpg": ("RGB", (120, 75), {"exif": True}),
    "grey.png": ("L", (90, 160), {}),
    "sixteen-bit.png": ("I;16", (60, 44), {}),
    "transparent.png": ("RGBA", (75, 51), {}),
    "palette.gif": ("P", (64, 33), {}),
    "print.jpg": ("CMYK", (48, 99), {}),
    "sliver.png": ("RGB", (400, 3), {}),
    "half.jpg": ("RGB", (381, 283), {}),
    "quarter-turned.jpg": ("RGB", (801, 1203), {"exif": True}),
    "eighth.jpg": ("L", (2900, 1901), {}),
    "print-half.jpg": ("CMYK", (460, 300), {}),
}


def test_both_know_the_same_rules() -> None:
    fields = ResizeRule.model_fields
    assert get_args(fields["rounding"].annotation) == ROUNDINGS
    assert get_args(fields["interpolation"].annotation) == INTERPOLATIONS
    assert get_args(fields["decoding"].annotation) == DECODINGS
    assert framing.SPARE == resize.SPARE


@pytest.mark.parametrize("decoding", DECODINGS)
@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("name", MADE)
def test_a_file_becomes_the_same_frame_pixel_by_pixel(
    name: str, interpolation: resize.Interpolation, decoding: resize.Decoding, tmp_path: Path
) -> None:
    path = tmp_path / name
    save_picture(path, *MADE[name])
    assert_same_frames(path, interpolation, decoding)


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("landscape.jpg", (97, 211)),
        ("grey.png", (160, 90)),
        ("half.jpg", (142, 191)),
        ("quarter-turned.jpg", (201, 301)),
        ("eighth.jpg", (238, 363)),
        ("print-half.jpg", (150, 230)),
    ],
)
def test_a_jpeg_is_decoded_at_the_least_part_that_has_twice_the_sides_of_its_content(
    name: str, size: resize.Size, tmp_path: Path
) -> None:
    path, rule = tmp_path / name, resize.ResizeRule(64, 112, decoding="reduced")
    save_picture(path, *MADE[name])
    trained = pictures.read_image(path, rule)
    served, original = framing.decoded_for_frame(
        path.read_bytes(), framing.Framing(as_served(rule), rule.buckets, 10**7)
    )
    assert (trained.height, trained.width) == (served.height, served.width) == size
    assert original == pictures.read_size(path)
    assert np.array_equal(np.asarray(trained), np.asarray(served))


def test_a_jpeg_that_lacks_only_its_end_becomes_the_same_frame(tmp_path: Path) -> None:
    path = tmp_path / "endless.jpg"
    save_picture(path, "RGB", (211, 97), {"exif": True})
    path.write_bytes(path.read_bytes()[:-2])
    assert_same_frames(path, "pillow-bilinear", "whole")
    save_picture(path, "RGB", (381, 283), {})
    path.write_bytes(path.read_bytes()[:-2])
    assert_same_frames(path, "pillow-bilinear", "reduced")


def assert_same_frames(
    path: Path, interpolation: resize.Interpolation, decoding: resize.Decoding
) -> None:
    ours = resize.ResizeRule(64, 112, interpolation=interpolation, decoding=decoding)
    frame, size = transforms.frame_file(path, ours)
    served = framing.load_frame(
        path.read_bytes(), framing.Framing(as_served(ours), ours.buckets, max_pixels=10**7)
    )
    assert served.original == pictures.read_size(path)
    assert served.content == size
    assert np.array_equal(served.pixels, frame.numpy())


def save_picture(path: Path, mode: str, size: tuple[int, int], extra: dict[str, bool]) -> None:
    """A random picture of (width, height) `size`, turned by EXIF where asked."""
    width, height = size
    generator = np.random.default_rng(len(path.name))
    if mode == "I;16":
        values = generator.integers(0, 65536, (height, width)).astype(np.uint16)
        picture = Image.fromarray(values)
    else:
        bands = len(Image.new(mode, (1, 1)).getbands())
        shape = (height, width) if bands == 1 else (height, width, bands)
        pixels = generator.integers(0, 256, shape).astype(np.uint8)
        picture = Image.fromarray(pixels, "L" if mode == "P" else mode)
    exif = Image.Exif()
    if extra.get("exif"):
        exif[0x0112] = 6
    picture.save(path, exif=exif)
