import gc
from pathlib import Path

import numpy as np
import pytest

from service.artifact.tensors import OUTPUTS
from service.engine.buffers import Buffers, cuda_runtime, least_regions, page_lock
from service.engine.providers import CPU
from service.engine.runtime import ort
from tests.service.engine.test_engine import frames

COLOURS = ((255, 9, 0), (51, 100, 0), (7, 200, 0))
SIZES = [(32, 60), (30, 64), (17, 23)]


class Runtime:
    """A CUDA runtime that answers `code`, and notes what is locked."""

    def __init__(self, code: int = 0) -> None:
        self.code = code
        self.locked: dict[int, int] = {}
        self.errors_cleared = 0

    def cudaHostRegister(self, address: object, nbytes: object, flags: object) -> int:  # noqa: N802
        if self.code == 0:
            self.locked[address.value] = nbytes.value  # type: ignore[attr-defined]
        return self.code

    def cudaHostUnregister(self, address: object) -> int:  # noqa: N802
        del self.locked[address.value]  # type: ignore[attr-defined]
        return 0

    def cudaGetLastError(self) -> int:  # noqa: N802
        self.errors_cleared += 1
        return self.code


@pytest.fixture
def session(tiny_path: Path) -> ort.InferenceSession:
    return ort.InferenceSession(tiny_path, providers=[CPU])


@pytest.mark.parametrize("count", [1, 2, 3])
def test_what_is_bound_gives_what_a_plain_run_gives(
    session: ort.InferenceSession, count: int
) -> None:
    images = frames(*COLOURS[:count])
    regions = np.zeros((count, 0, 4), np.float32)
    feed = {"images": images, "sizes": np.array(SIZES[:count]), "regions": regions}
    expected = session.run(list(OUTPUTS), feed)
    buffers = Buffers(session)
    for _ in range(2):  # the second time in memory that was used before
        outputs = buffers.binding(count, (32, 64)).run(list(images), SIZES[:count])
        for name, value in zip(OUTPUTS, expected, strict=True):
            np.testing.assert_array_equal(getattr(outputs, name), value)


def test_each_frame_has_its_own_regions_and_the_next_run_none_of_them(
    session: ort.InferenceSession,
) -> None:
    images, binding = frames(*COLOURS[:2]), Buffers(session).binding(2, (32, 64))
    regions = [
        np.array([[1, 2, 30, 20]], np.float32),
        np.arange(12, dtype=np.float32).reshape(3, 4),
    ]
    outputs = binding.run(images, SIZES[:2], regions)
    assert outputs.region_boxes[0].tolist() == [[1, 2, 30, 20], [0] * 4, [0] * 4]
    np.testing.assert_array_equal(outputs.region_boxes[1], regions[1])
    assert outputs.region_scores.shape == (2, 3)
    assert binding.run(images, SIZES[:2]).region_boxes.shape == (2, 0, 4)
    fewer = binding.run(images, SIZES[:2], [regions[1][:0], regions[1][1:]])
    assert fewer.region_boxes[0].tolist() == [[0] * 4, [0] * 4]


def test_an_answer_stays_as_it_is_when_the_memory_is_used_again(
    session: ort.InferenceSession,
) -> None:
    binding = Buffers(session).binding(1, (32, 64))
    first = binding.run(frames(COLOURS[0]), SIZES[:1])
    before = {name: getattr(first, name).copy() for name in OUTPUTS}
    binding.run(frames(COLOURS[1]), SIZES[1:2])
    for name, value in before.items():
        np.testing.assert_array_equal(getattr(first, name), value)


def test_all_shapes_share_the_memory_of_the_largest(session: ort.InferenceSession) -> None:
    locked: list[int] = []
    buffers = Buffers(session, lambda block: locked.append(block.nbytes))
    for count, frame in ((1, (32, 64)), (3, (64, 32)), (2, (32, 96)), (3, (32, 64))):
        buffers.binding(count, frame)
    assert locked == [1 * 3 * 32 * 64, 3 * 3 * 32 * 64]
    assert buffers.nbytes == locked[-1]


def test_a_shape_is_bound_once(session: ort.InferenceSession) -> None:
    buffers = Buffers(session)
    assert buffers.binding(2, (32, 64)) is buffers.binding(2, (32, 64))


def test_memory_that_grew_is_what_smaller_shapes_use_from_then_on(
    session: ort.InferenceSession,
) -> None:
    buffers = Buffers(session)
    small = buffers.binding(1, (32, 64))
    buffers.binding(3, (32, 64))
    assert buffers.binding(1, (32, 64)) is not small


def test_pages_are_locked_for_as_long_as_the_block_lives() -> None:
    runtime, block = Runtime(), np.zeros(4096, np.uint8)
    assert page_lock(block, runtime)
    assert runtime.locked == {block.ctypes.data: 4096}
    view = block[:100].reshape(10, 10)
    del block
    gc.collect()
    assert len(runtime.locked) == 1
    del view
    gc.collect()
    assert runtime.locked == {}


def test_pages_that_cuda_will_not_lock_leave_no_error_behind() -> None:
    runtime = Runtime(code=2)
    assert not page_lock(np.zeros(4096, np.uint8), runtime)
    assert runtime.errors_cleared == 1


def test_without_the_cuda_runtime_there_is_none() -> None:
    assert cuda_runtime("0.0") is None


@pytest.mark.parametrize(
    ("version", "least"), [("1.26.0", 1), ("1.31.1", 1), ("1.32.0", 0), ("2.0", 0)]
)
def test_an_onnx_runtime_that_fails_without_regions_is_given_one(version: str, least: int) -> None:
    assert least_regions(version) == least


def test_of_a_region_that_nobody_asked_for_nobody_sees_anything(
    session: ort.InferenceSession,
) -> None:
    images = list(frames(*COLOURS[:2]))
    without = Buffers(session, least=0).binding(2, (32, 64)).run(images, SIZES[:2])
    given = Buffers(session, least=1).binding(2, (32, 64))
    for _ in range(2):  # also after a run that had some
        outputs = given.run(images, SIZES[:2])
        for name in OUTPUTS:
            np.testing.assert_array_equal(getattr(outputs, name), getattr(without, name))
        given.run(images, SIZES[:2], [np.full((3, 4), 7, np.float32), np.zeros((0, 4), np.float32)])
