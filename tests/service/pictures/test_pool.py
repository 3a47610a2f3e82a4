import asyncio
from collections.abc import Iterator
from math import inf

import pytest
from PIL import Image

from service.artifact.manifest import Manifest
from service.errors import DeadlineExceeded, TooLarge
from service.pictures.framing import Framing, load_frame
from service.pictures.pool import DecodingPool
from tests.service.images import encoded, noise, png

pytestmark = pytest.mark.anyio


@pytest.fixture
def framing(manifest: Manifest) -> Framing:
    return Framing(manifest.resize, manifest.buckets, 2000 * 1500)


@pytest.fixture
def pool(framing: Framing) -> Iterator[DecodingPool]:
    pool = DecodingPool(framing, threads=1)
    yield pool
    pool.stop()


async def test_a_frame_is_the_one_that_is_made_without_threads(
    pool: DecodingPool, framing: Framing
) -> None:
    data = encoded(Image.fromarray(noise(30, 45)))
    frame, alone = await pool.frame(data, inf), load_frame(data, framing)
    assert (frame.pixels == alone.pixels).all()
    assert (frame.content, frame.original) == (alone.content, alone.original)


async def test_what_is_refused_in_a_thread_is_raised_to_who_waits(pool: DecodingPool) -> None:
    with pytest.raises(TooLarge):
        await pool.frame(png(2001, 1500), inf)


async def test_the_deadline_is_answered_while_another_image_is_decoded(pool: DecodingPool) -> None:
    first = asyncio.create_task(pool.frame(encoded(Image.fromarray(noise(2000, 1500))), inf))
    await asyncio.sleep(0)
    with pytest.raises(DeadlineExceeded):
        await pool.frame(png(8, 9), asyncio.get_running_loop().time() + 0.001)
    assert not first.done()
    await first
