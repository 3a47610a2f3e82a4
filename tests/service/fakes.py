"""Stand-ins for the engine whose runs wait at a gate, so that a test decides what happens meanwhile."""

import asyncio
import threading
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from service.artifact.tensors import Outputs
from service.engine.engine import Engine
from service.engine.layouts import Layout
from service.pictures.framing import Size


class Gate:
    """While `hold` is set, each run that passes waits until it is let go."""

    def __init__(self, hold: bool = False) -> None:
        self.hold = hold
        self._begun = threading.Semaphore(0)
        self._gate = threading.Semaphore(0)

    def passed(self) -> None:
        """Returns once the gate lets the run through; called in the engine's thread."""
        if self.hold:
            self._begun.release()
            assert self._gate.acquire(timeout=30)

    async def begun(self) -> None:
        """Returns once a run waits."""
        assert await asyncio.to_thread(self._begun.acquire, timeout=30)

    def let_go(self, runs: int = 1) -> None:
        """Lets that many runs through."""
        self._gate.release(runs)

    def open(self) -> None:
        """Lets all runs through, now and from now on."""
        self.hold = False
        self.let_go(1000)


class GatedModel(Gate):
    """Behaves as `engine` does, and notes the size of every batch."""

    def __init__(self, engine: Engine, hold: bool = False) -> None:
        super().__init__(hold)
        self.manifest = engine.manifest
        self.provider = engine.provider
        self.device = engine.device
        self.layouts = engine.layouts
        self.session_bytes = engine.session_bytes
        self.sizes: list[int] = []
        self.is_broken = False
        self._engine = engine

    def run(
        self,
        frames: Sequence[NDArray[np.uint8]],
        sizes: Sequence[Size],
        regions: Sequence[NDArray[np.float32]],
        layout: Layout,
    ) -> Outputs:
        """The engine's outputs, or an error when broken."""
        self.sizes.append(len(frames))
        self.passed()
        if self.is_broken:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        return self._engine.run(frames, sizes, regions, layout)

    def settle(self, layouts: Sequence[Layout]) -> None:
        """As the engine does."""
        self._engine.settle(layouts)
        self.layouts = self._engine.layouts


class Runs(Gate):
    """A `run_batch` that answers in capitals, and notes every batch, and the number of runs that its layout has."""

    def __init__(self, hold: bool = False) -> None:
        super().__init__(hold)
        self.batches: list[tuple[str, list[str]]] = []
        self.widths: list[int] = []

    def __call__(self, layout: Layout, key: str, items: Sequence[str]) -> Sequence[str]:
        self.batches.append((key, list(items)))
        self.widths.append(layout.runs)
        self.passed()
        return self.answer(items)

    def answer(self, items: Sequence[str]) -> Sequence[str]:
        """A result for each of `items`."""
        return [item.upper() for item in items]


class Failing(Runs):
    """Raises `error` for every batch that holds the item "bad"."""

    def __init__(self, error: BaseException, hold: bool = False) -> None:
        super().__init__(hold)
        self.error = error

    def answer(self, items: Sequence[str]) -> Sequence[str]:
        """As `Runs`, without "bad" among `items`."""
        if "bad" in items:
            raise self.error
        return super().answer(items)


class Miscounting(Runs):
    """Gives one result too few."""

    def answer(self, items: Sequence[str]) -> Sequence[str]:
        """A result for each of `items` but the first."""
        return super().answer(items)[1:]


async def until(condition: Callable[[], bool]) -> None:
    """Lets other tasks and threads go on until `condition` holds."""
    for _ in range(10_000):
        if condition():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("never happened")
