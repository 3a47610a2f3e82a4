"""Decoding in processes: the frames of before, and what becomes of images and processes when something goes wrong."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from math import inf
from pathlib import Path

import psutil
import pytest
from PIL import Image

from service.artifact.manifest import Manifest
from service.errors import (
    DeadlineExceeded,
    DecodingFailed,
    InvalidImage,
    TooLarge,
    Unavailable,
    UnsupportedMediaType,
)
from service.pictures.framing import Framing, load_frame
from service.pictures.header import header
from service.pictures.pool import DecodingLimits, DecodingPool, is_light
from service.pictures.worker import NICENESS
from tests.service.fakes import until
from tests.service.images import encoded, endless_jpeg, noise, plain, png

pytestmark = pytest.mark.anyio

ENOUGH_BYTES = 2**30


@pytest.fixture
def framing(manifest: Manifest) -> Framing:
    return Framing(manifest.resize, manifest.buckets, 50_000_000)


@asynccontextmanager
async def decoding(
    framing: Framing, workers: int = 1, memory_bytes: int = ENOUGH_BYTES, stall_s: float = inf
) -> AsyncIterator[DecodingPool]:
    pool = DecodingPool(framing, DecodingLimits(workers, memory_bytes, stall_s))
    try:
        yield pool
    finally:
        await pool.stop()
        assert children() == set()


# What other tests have started and left to the end of their own process.
OTHERS: set[int] = set()


@pytest.fixture(autouse=True)
def _others() -> None:
    OTHERS.clear()
    OTHERS.update(children())


def children() -> set[int]:
    """The processes that a test has started, those that have ended and were not waited for among them."""
    return {child.pid for child in psutil.Process().children()} - OTHERS


def soon(seconds: float = 0.3) -> float:
    return asyncio.get_running_loop().time() + seconds


async def only_child() -> int:
    await until(lambda: len(children()) == 1)
    return children().pop()


def state(pid: int) -> str:
    """What the process does: R runs, S waits, T was stopped."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


needs_proc = pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs Linux")


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
async def test_a_frame_is_the_one_that_is_made_without_a_pool(kind: str, framing: Framing) -> None:
    data = encoded(Image.fromarray(noise(30, 45)), kind)
    async with decoding(framing) as pool:
        frame, alone = await pool.frame(data, inf), load_frame(data, framing)
    assert (frame.pixels == alone.pixels).all()
    assert (frame.content, frame.original, frame.bucket) == (
        alone.content,
        alone.original,
        alone.bucket,
    )


async def test_a_process_leaves_the_cores_to_the_server(framing: Framing) -> None:
    async with decoding(framing):
        pid = await only_child()
        lowest = min(psutil.Process().nice() + NICENESS, 19)
        await until(lambda: psutil.Process(pid).nice() == lowest)


async def test_a_frame_stays_when_others_follow(framing: Framing) -> None:
    async with decoding(framing) as pool:
        frame = await pool.frame(png(30, 45, (1, 2, 3)), inf)
        await pool.frame(png(30, 45, (7, 8, 9)), inf)
    assert frame.pixels[:, 0, 0].tolist() == [1, 2, 3]


async def test_more_images_than_processes_are_all_answered(framing: Framing) -> None:
    async with decoding(framing, workers=2) as pool:
        frames = await asyncio.gather(*[pool.frame(png(9, n), inf) for n in range(10, 30)])
    assert [frame.original for frame in frames] == [(9, n) for n in range(10, 30)]


async def test_a_body_larger_than_any_pipe_arrives(framing: Framing) -> None:
    data = encoded(Image.fromarray(noise(900, 800)), "BMP")
    async with decoding(framing) as pool:
        assert (await pool.frame(data, inf)).original == (900, 800)


@pytest.mark.parametrize(
    ("data", "error", "reason"),
    [
        (b"junk", InvalidImage, "invalid_image"),
        (b"", InvalidImage, "invalid_image"),
        (png(8000, 7000), TooLarge, "pixels"),
        (encoded(Image.new("F", (3, 2)), "TIFF"), UnsupportedMediaType, "media_type"),
    ],
)
async def test_what_is_refused_in_a_process_is_raised_to_who_waits(
    data: bytes, error: type[Exception], reason: str, framing: Framing
) -> None:
    async with decoding(framing) as pool:
        with pytest.raises(error) as caught:
            await pool.frame(data, inf)
        assert (await pool.frame(png(8, 9), inf)).original == (8, 9)
    assert getattr(caught.value, "reason", None) == reason


async def test_what_is_past_its_deadline_ends_and_frees_its_process(framing: Framing) -> None:
    async with decoding(framing) as pool:
        await pool.frame(png(8, 9), inf)
        with pytest.raises(DeadlineExceeded):
            await pool.frame(endless_jpeg(), soon())
        # It would have taken minutes.
        assert (await pool.frame(png(8, 9), soon(60))).original == (8, 9)
        assert pool.fault is None


async def test_the_deadline_is_answered_while_another_image_is_decoded(framing: Framing) -> None:
    async with decoding(framing) as pool:
        await pool.frame(png(8, 9), inf)
        first = asyncio.create_task(pool.frame(endless_jpeg(), soon(60)))
        pid = await only_child()
        await until(lambda: state(pid) == "R")
        with pytest.raises(DeadlineExceeded):
            await pool.frame(png(8, 9), soon())
        assert not first.done()
        first.cancel()


async def test_images_that_wait_lose_nothing_when_the_one_before_is_ended(framing: Framing) -> None:
    async with decoding(framing) as pool:
        late = asyncio.create_task(pool.frame(endless_jpeg(), soon()))
        others = [asyncio.create_task(pool.frame(png(8, n), inf)) for n in range(9, 14)]
        frames = await asyncio.gather(*others)
        with pytest.raises(DeadlineExceeded):
            await late
    assert [frame.original for frame in frames] == [(8, n) for n in range(9, 14)]


async def test_small_images_pass_a_large_one_that_waits(framing: Framing) -> None:
    order: list[str] = []

    async def decode(name: str, data: bytes) -> None:
        await pool.frame(data, inf)
        order.append(name)

    large = encoded(plain(2000, 3000, (1, 2, 3)))
    async with decoding(framing) as pool:
        # They all come before the process has started.
        await asyncio.gather(decode("large", large), *[decode("small", png(8, 9)) for _ in "abc"])
    assert order == ["small", "small", "small", "large"]


async def test_small_photographs_pass_what_holds_all_processes(framing: Framing) -> None:
    small = encoded(Image.fromarray(noise(30, 45)), "JPEG")
    async with decoding(framing) as pool:
        held = asyncio.create_task(pool.frame(endless_jpeg(), soon(60)))
        assert (await pool.frame(small, soon(60))).original == (30, 45)
        assert not held.done()
        held.cancel()


def is_light_jpeg(data: bytes) -> bool:
    said = header(data)
    return said is not None and is_light(said, data)


def test_light_is_what_a_header_says_to_be_short_work() -> None:
    image = Image.fromarray(noise(600, 800))
    photograph = encoded(image, "JPEG")
    scans = photograph[photograph.rfind(b"\xff\xda") : -2] * 12
    assert is_light_jpeg(photograph)
    assert not is_light_jpeg(encoded(image, "WEBP"))
    assert not is_light_jpeg(encoded(plain(1300, 1300, (1, 2, 3)), "JPEG"))
    assert not is_light_jpeg(photograph + bytes(2**20))
    assert not is_light_jpeg(encoded(image, "JPEG", progressive=True)[:-2] + scans + b"\xff\xd9")


@needs_proc
async def test_a_process_that_dies_fails_its_image_and_is_replaced(framing: Framing) -> None:
    async with decoding(framing) as pool:
        await pool.frame(png(8, 9), inf)
        pid = await only_child()
        task = asyncio.create_task(pool.frame(endless_jpeg(), soon(60)))
        await until(lambda: state(pid) == "R")
        os.kill(pid, signal.SIGSEGV)
        with pytest.raises(DecodingFailed, match="ended abnormally"):
            await task
        assert (await pool.frame(png(8, 9), inf)).original == (8, 9)
        assert await only_child() != pid


@needs_proc
async def test_a_process_that_dies_idle_fails_nobody(framing: Framing) -> None:
    async with decoding(framing) as pool:
        await pool.frame(png(8, 9), inf)
        pid = await only_child()
        os.kill(pid, signal.SIGKILL)
        # Not waited for: that is the pool's.
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        assert (await pool.frame(png(8, 9), inf)).original == (8, 9)


@needs_proc
async def test_the_signals_that_end_a_server_leave_it_its_decoders(framing: Framing) -> None:
    async with decoding(framing) as pool:
        await pool.frame(png(8, 9), inf)
        pid = await only_child()
        os.kill(pid, signal.SIGTERM)
        os.kill(pid, signal.SIGINT)
        assert (await pool.frame(png(8, 9), inf)).original == (8, 9)
        assert await only_child() == pid


async def test_an_image_that_needs_more_memory_than_a_process_may_take_is_too_large(
    framing: Framing,
) -> None:
    async with decoding(framing, memory_bytes=128 * 2**20) as pool:
        with pytest.raises(TooLarge, match="134217728 bytes") as caught:
            await pool.frame(encoded(Image.new("1", (7000, 7000))), inf)
        assert caught.value.reason == "memory"
        assert (await pool.frame(png(8, 9), inf)).original == (8, 9)


async def test_processes_that_do_not_start_are_a_fault(framing: Framing) -> None:
    async with decoding(framing, memory_bytes=2**20) as pool:
        await until(lambda: pool.fault is not None)
        assert "no decoding process starts" in str(pool.fault)
        with pytest.raises(DeadlineExceeded):
            await pool.frame(png(8, 9), soon())


@needs_proc
async def test_a_standstill_is_a_fault_until_it_moves_again(framing: Framing) -> None:
    async with decoding(framing, stall_s=0.2) as pool:
        await pool.frame(png(8, 9), inf)
        pid = await only_child()
        os.kill(pid, signal.SIGSTOP)
        await until(lambda: state(pid) == "T")
        tasks = [asyncio.create_task(pool.frame(png(8, n), inf)) for n in (9, 10)]
        await until(lambda: pool.fault is not None)
        assert "none has been decoded" in str(pool.fault)
        os.kill(pid, signal.SIGCONT)
        await asyncio.gather(*tasks)
        assert pool.fault is None


async def test_what_is_inside_when_it_stops_is_answered(framing: Framing) -> None:
    async with decoding(framing) as pool:
        tasks = [asyncio.create_task(pool.frame(endless_jpeg(), soon(60))) for _ in range(2)]
        await asyncio.sleep(0)
    for task in tasks:
        with pytest.raises(Unavailable):
            await task


@needs_proc
async def test_nothing_is_left_open_by_processes_that_were_replaced(framing: Framing) -> None:
    descriptors: Callable[[], int] = lambda: len(list(Path("/proc/self/fd").iterdir()))  # noqa: E731
    async with decoding(framing) as pool:
        await pool.frame(png(8, 9), inf)
        before = descriptors()
        for _ in range(3):
            with pytest.raises(DeadlineExceeded):
                await pool.frame(endless_jpeg(), soon())
            await pool.frame(png(8, 9), inf)
        assert descriptors() == before
