from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor

import pytest

from service.errors import Unavailable
from service.readiness import Readiness, Size, shapes_to_warm

pytestmark = pytest.mark.anyio

FRAMES = [(32, 64), (96, 32)]


class Engine:
    """Notes what runs, and fails while it is broken; `fault` is what its batches say."""

    def __init__(self) -> None:
        self.ran: list[tuple[Size, int]] = []
        self.is_broken = False
        self.fault: str | None = None

    def run(self, size: Size, count: int) -> int:
        """`count`, once it has run that many frames."""
        if self.is_broken:
            raise RuntimeError("CUDA error")
        self.ran.append((size, count))
        return count


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest.fixture
def readiness(engine: Engine) -> Readiness:
    return Readiness(shapes_to_warm(FRAMES, "cuda", 2), engine.run, lambda: engine.fault)


@pytest.fixture
def thread() -> Iterator[Executor]:
    with ThreadPoolExecutor(1) as executor:
        yield executor


def refusal(readiness: Readiness) -> Unavailable:
    assert readiness.not_ready is not None
    return readiness.not_ready


def test_a_cpu_is_warmed_up_with_single_images_and_a_gpu_with_every_size_of_batch() -> None:
    assert shapes_to_warm(FRAMES, "cpu", 3) == [((32, 64), 1), ((96, 32), 1)]
    assert [count for _, count in shapes_to_warm(FRAMES[:1], "cuda", 3)] == [1, 2, 3]


async def test_it_is_ready_once_every_shape_has_run(
    readiness: Readiness, engine: Engine, thread: Executor
) -> None:
    assert refusal(readiness).detail == "warming up: 0 of 4 shapes"
    assert refusal(readiness).retry_after_s is not None
    await readiness.warm_up(thread)
    assert (readiness.not_ready, readiness.closed, readiness.fault) == (None, None, None)
    assert engine.ran == [((32, 64), 1), ((32, 64), 2), ((96, 32), 1), ((96, 32), 2)]
    assert readiness.warmed_sizes() == {(32, 64): [1, 2], (96, 32): [1, 2]}


async def test_it_is_not_ready_until_what_comes_after_the_shapes_has_been_done(
    readiness: Readiness, thread: Executor
) -> None:
    async def settle() -> None:
        assert refusal(readiness).detail == "warming up: 4 of 4 shapes"

    await readiness.warm_up(thread, settle)
    assert readiness.not_ready is None


async def test_a_model_that_does_not_warm_up_is_never_ready(
    readiness: Readiness, engine: Engine, thread: Executor
) -> None:
    engine.is_broken = True
    with pytest.raises(RuntimeError):
        await readiness.warm_up(thread)
    assert readiness.warmed_sizes() == {}
    assert readiness.closed is not None


async def test_draining_closes_and_is_no_fault(readiness: Readiness, thread: Executor) -> None:
    await readiness.warm_up(thread)
    readiness.drain()
    assert refusal(readiness).reason == "draining"
    assert readiness.closed is not None
    assert readiness.fault is None


async def test_batches_that_make_no_progress_are_a_fault_and_close(
    readiness: Readiness, engine: Engine, thread: Executor
) -> None:
    await readiness.warm_up(thread)
    engine.fault = "the batch loop has ended"
    assert readiness.fault == "the batch loop has ended"
    assert refusal(readiness).reason == "fault"
    assert readiness.closed is not None


async def test_images_that_a_sound_model_fails_on_are_no_fault(
    readiness: Readiness, thread: Executor
) -> None:
    await readiness.warm_up(thread)
    with pytest.raises(ZeroDivisionError):
        readiness.watched(lambda: 1 / 0)
    assert readiness.not_ready is None


async def test_a_broken_model_is_a_fault_that_still_lets_requests_in_until_one_has_healed_it(
    readiness: Readiness, engine: Engine, thread: Executor
) -> None:
    await readiness.warm_up(thread)
    engine.is_broken = True
    with pytest.raises(RuntimeError):
        readiness.watched(lambda: engine.run((32, 64), 2))
    assert readiness.fault is not None
    assert refusal(readiness).reason == "fault"
    assert readiness.closed is None
    engine.is_broken = False
    assert readiness.watched(lambda: engine.run((32, 64), 2)) == 2
    assert readiness.not_ready is None


async def test_whoever_it_watches_can_be_the_fault(readiness: Readiness, thread: Executor) -> None:
    faults: list[str] = []
    readiness.watch(lambda: faults[0] if faults else None)
    await readiness.warm_up(thread)
    assert (readiness.fault, readiness.not_ready) == (None, None)
    faults.append("decoding stands still")
    assert (readiness.fault, refusal(readiness).reason) == ("decoding stands still", "fault")
