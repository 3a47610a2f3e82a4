"""Where pictures are drawn, and what becomes of one that cannot be."""

import asyncio
import io
from math import inf

import numpy as np
import pytest
from PIL import Image

from service.errors import DeadlineExceeded, DecodingFailed, TooLarge
from service.pictures.drawer import Drawer, DrawingLimits
from service.pictures.drawing import Mark, drawn_picture
from tests.service.images import encoded, endless_jpeg, noise, plain

pytestmark = pytest.mark.anyio

MARKS = [Mark((5.0, 20.0, 30.0, 29.0), "cat 0.98", 0)]


def drawer(memory_bytes: int = 2**30) -> Drawer:
    return Drawer(DrawingLimits(1, memory_bytes, 50_000_000))


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
async def test_a_picture_is_the_same_from_a_thread_and_from_a_process(kind: str) -> None:
    data = encoded(Image.fromarray(noise(30, 45)), kind)
    picture = await drawer().picture(data, MARKS, "image/png", inf)
    assert picture == drawn_picture(data, MARKS, "image/png", 10**6)


async def test_a_picture_that_takes_too_long_is_given_up_and_the_next_one_is_drawn() -> None:
    room = drawer()
    soon = asyncio.get_running_loop().time() + 0.5
    with pytest.raises(DeadlineExceeded):
        await room.picture(endless_jpeg(), MARKS, "image/jpeg", soon)
    data = encoded(plain(30, 45, (1, 2, 3)))
    with Image.open(io.BytesIO(await room.picture(data, [], "image/png", inf))) as picture:
        assert np.asarray(picture)[0, 0].tolist() == [1, 2, 3]


async def test_a_picture_that_needs_too_much_memory_is_refused() -> None:
    data = encoded(plain(5000, 6000, (1, 2, 3)))
    with pytest.raises(TooLarge) as refusal:
        await drawer(memory_bytes=80 * 2**20).picture(data, MARKS, "image/png", inf)
    assert refusal.value.reason == "memory"


async def test_a_side_that_the_type_cannot_hold_is_refused() -> None:
    data = encoded(plain(1, 16_384, (1, 2, 3)))
    with pytest.raises(TooLarge, match="at most 16383 pixels"):
        await drawer().picture(data, [], "image/webp", inf)


async def test_a_process_that_fails_fails_its_picture_alone() -> None:
    with pytest.raises(DecodingFailed):
        await drawer().picture(b"junk", MARKS, "image/png", inf)
