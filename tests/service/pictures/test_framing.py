"""Frames: the resize rule, the choice of a bucket, and what lies where in it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from service.artifact.manifest import Manifest, ResizeRule
from service.errors import ServiceError
from service.pictures.framing import Framing, choose_bucket, load_frame, place, resized_size
from tests.service.images import encoded, noise, png
from tests.service.tiny_model import MANIFEST

TINY = Manifest.model_validate(MANIFEST, strict=False)
FRAMING = Framing(TINY.resize, TINY.buckets, 50_000_000)
# The rule and buckets of a real model, in which nothing of the tiny one's happens to coincide.
RULE = ResizeRule(
    short_side=320,
    max_side=576,
    rounding="round",
    interpolation="pillow-bilinear",
    decoding="whole",
)

sides = st.integers(1, 4000)


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
def test_a_resized_size_keeps_to_both_sides_and_turns_with_the_image(h: int, w: int) -> None:
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
def test_a_frame_is_the_image_top_left_and_zero_elsewhere(height: int, width: int) -> None:
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
