"""Readiness: whether requests are welcome, and whether the process makes progress at all.

    made -> warming up: every shape runs once, then its answers are checked -> ready -> draining
    the batch loop ends or a batch hangs      -> a fault, not ready
    decoding stands still                     -> the same
    the model fails on what it once ran       -> a fault until it has healed

A fault is for whoever restarts processes, being not ready for whoever sends requests.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import Executor
from itertools import product
from time import perf_counter
from typing import TypeVar

from service.errors import Unavailable

log = logging.getLogger(__name__)

Size = tuple[int, int]
Result = TypeVar("Result")


class Readiness:
    """Not ready until `warm_up` has run every shape; not ready again once `drain` was called.

    A shape is (height, width) of a frame and how many of them run together.
    """

    def __init__(
        self,
        shapes: Sequence[tuple[Size, int]],
        run_empty: Callable[[Size, int], object],
        loop_fault: Callable[[], str | None],
    ) -> None:
        """`run_empty` runs a shape; `loop_fault` says why batches make no progress, if so."""
        self._shapes = shapes
        self._run_empty = run_empty
        self._faults = [loop_fault]
        self._warmed: list[tuple[Size, int]] = []
        self._made = perf_counter()
        self._is_warm = False
        self._draining = False
        self._broken = False

    @property
    def fault(self) -> str | None:
        """Why the process should be restarted, or None when it makes progress."""
        if self._broken:
            return "the model fails on a frame that it took while warming up"
        return self._standstill()

    @property
    def not_ready(self) -> Unavailable | None:
        """Why requests should go elsewhere, or None when they are welcome."""
        return self.closed or (Unavailable(self.fault, reason="fault") if self.fault else None)

    @property
    def closed(self) -> Unavailable | None:
        """Why no request is taken. A broken model is no reason: only a request shows it has healed."""
        if self._draining:
            return Unavailable("the server is shutting down", reason="draining", retry_after_s=1)
        fault = self._standstill()
        if fault is not None:
            return Unavailable(fault, reason="fault")
        if not self._is_warm:
            done = f"{len(self._warmed)} of {len(self._shapes)} shapes"
            return Unavailable(f"warming up: {done}", retry_after_s=self._warm_up_left_s())
        return None

    async def warm_up(
        self, threads: Executor, settle: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        """Runs every shape in one of `threads`, one after the other, then `settle`, and is ready after that."""
        loop = asyncio.get_running_loop()
        for size, count in self._shapes:
            await loop.run_in_executor(threads, self._run_empty, size, count)
            self._warmed.append((size, count))
        if settle is not None:
            await settle()
        self._is_warm = True
        seconds = round(perf_counter() - self._made, 3)
        log.info("ready", extra={"fields": {"shapes": len(self._shapes), "warm_up_s": seconds}})

    def warmed_sizes(self) -> dict[Size, list[int]]:
        """The batch sizes that have been warmed up, of every frame that has."""
        sizes: dict[Size, list[int]] = {}
        for size, count in self._warmed:
            sizes.setdefault(size, []).append(count)
        return sizes

    def watch(self, fault: Callable[[], str | None]) -> None:
        """Asks `fault`, too, why the process makes no progress."""
        self._faults.append(fault)

    def drain(self) -> None:
        """Takes no more requests; those inside are finished."""
        self._draining = True

    def watched(self, run: Callable[[], Result]) -> Result:
        """What `run` returns; when it fails, notes whether its images or the model are to blame.

        A CUDA error, for one, makes every later run of the process fail.
        """
        try:
            result = run()
        except Exception:
            self._broken = True
            self._run_empty(*self._shapes[0])
            self._broken = False
            raise
        self._broken = False
        return result

    def _standstill(self) -> str | None:
        """Why images make no progress on their way, if so."""
        return next(filter(None, (fault() for fault in self._faults)), None)

    def _warm_up_left_s(self) -> float:
        """Seconds until all shapes have run, if the rest take as long as those before."""
        done = len(self._warmed)
        elapsed_s = perf_counter() - self._made
        return elapsed_s * (len(self._shapes) - done) / max(1, done)


def shapes_to_warm(frames: Iterable[Size], device: str, max_batch: int) -> list[tuple[Size, int]]:
    """The shapes to run before the first request.

    A GPU chooses algorithms and allocates for every shape that it meets. On the CPU a size that is met
    for the first time was no slower: see docs/decisions/0012-wide-and-narrow.md.
    """
    counts = [1] if device == "cpu" else range(1, max_batch + 1)
    return list(product(frames, counts))
