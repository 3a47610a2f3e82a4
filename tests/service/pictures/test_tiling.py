"""Where tiles lie, and that what is decoded once for all of them is what each would be alone."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from service.artifact.manifest import Manifest
from service.pictures.framing import Framing, frame_of
from service.pictures.tiling import (
    MOST,
    OVERLAP,
    Tiles,
    costs_of,
    load_shots,
    most_windows,
    windows,
)
from tests.service.images import encoded, noise, png
from tests.service.tiny_model import MANIFEST

RULE = Manifest.model_validate(MANIFEST, strict=False).resize
SIDES = st.integers(1, 5000)
COUNTS = st.integers(2, MOST)


@given(height=SIDES, width=SIDES, count=COUNTS)
def test_tiles_cover_the_photograph_and_lie_in_it(height: int, width: int, count: int) -> None:
    found = windows((height, width), RULE, count)
    assert 1 <= len(found) <= most_windows()
    for top, left, tall, wide in found:
        assert 0 <= top <= top + tall <= height
        assert 0 <= left <= left + wide <= width
        assert tall > 0
        assert wide > 0
    for length, spans in (
        (height, {(top, top + tall) for top, _, tall, _ in found}),
        (width, {(left, left + wide) for _, left, _, wide in found}),
    ):
        ends = sorted(spans)
        assert (ends[0][0], ends[-1][1]) == (0, length)
        assert all(one[1] >= other[0] for one, other in zip(ends, ends[1:], strict=False))


@given(
    height=st.integers(200, 5000),
    width=st.integers(200, 5000),
    count=COUNTS,
    data=st.data(),
)
def test_what_is_not_larger_than_the_overlap_is_whole_in_a_tile(
    height: int, width: int, count: int, data: st.DataObject
) -> None:
    found = windows((height, width), RULE, count)
    # Starts and sides are whole pixels.
    reach = int(OVERLAP * max(max(each[2:]) for each in found)) - 3
    reach = min(reach, height, width)
    top, left = (data.draw(st.integers(0, side - reach)) for side in (height, width))
    assert any(
        y <= top and x <= left and top + reach <= y + tall and left + reach <= x + wide
        for y, x, tall, wide in found
    )


@pytest.mark.parametrize(
    ("size", "tiles", "count"),
    [
        ((32, 64), "auto", 0),  # seen in its own size
        ((60, 90), "auto", 0),  # at more than half of it
        ((100, 100), "auto", 16),
        ((5000, 4000), "auto", 16),
        ((64, 3000), "auto", 4),
        ((100, 200), "off", 0),
        ((100, 200), 2, 2),
        ((200, 100), 2, 2),
        ((100, 100), 2, 4),
        ((100, 150), 3, 6),
    ],
)
def test_as_many_tiles_as_it_takes(size: tuple[int, int], tiles: Tiles, count: int) -> None:
    assert len(windows(size, RULE, tiles)) == count


def test_shots_are_the_frames_of_the_whole_and_of_its_parts() -> None:
    framing = Framing(RULE, [(32, 64), (64, 32), (32, 96), (96, 32)], 10**6)
    image = Image.fromarray(noise(150, 170))
    whole, *tiles = load_shots(encoded(image), framing, 2)
    assert whole.window is None
    assert np.array_equal(whole.frame.pixels, frame_of(image, (150, 170), framing).pixels)
    assert len(tiles) == 4
    for shot in tiles:
        assert shot.window is not None
        top, left, height, width = shot.window
        part = image.crop((left, top, left + width, top + height))
        alone = frame_of(part, (height, width), framing)
        assert shot.frame.original == (height, width)
        assert np.array_equal(shot.frame.pixels, alone.pixels)


def test_every_tile_takes_a_place_and_no_decoding() -> None:
    cost, *tiles = costs_of(png(100, 200), 10**6, RULE, 2)
    assert cost > 0
    assert tiles == [0, 0]
    assert costs_of(png(100, 200), 100, RULE, 2) == costs_of(b"junk", 100, RULE, 2) == [0]


def test_the_whole_is_the_same_with_tiles_as_without_where_it_is_decoded_reduced() -> None:
    rule = RULE.model_copy(update={"decoding": "reduced"})
    framing = Framing(rule, [(32, 64), (64, 32), (32, 96), (96, 32)], 10**7)
    image = Image.fromarray(noise(400, 500)).filter(ImageFilter.GaussianBlur(3))
    data = encoded(image, "JPEG", quality=95)
    (alone,), (whole, *tiles) = (load_shots(data, framing, each) for each in ("off", 2))
    assert np.array_equal(alone.frame.pixels, whole.frame.pixels)
    assert alone.frame.original == (400, 500)
    # They are of the pixels that the reduced one has lost, and lie where they are said to.
    decoded = Image.open(io.BytesIO(data))
    for shot in tiles:
        assert shot.window is not None
        top, left, height, width = shot.window
        part = decoded.crop((left, top, left + width, top + height))
        expected = frame_of(part, (height, width), framing)
        assert np.array_equal(shot.frame.pixels, expected.pixels)
