"""Dynamic batching: items that wait together run together, and everybody is answered exactly once.

Knows nothing of images, HTTP or ONNX. `run_batch(key, items)` is injected, runs in one thread, and
returns one result per item, in order. Only items of one key share a batch.

    submit -> waiting (in order of arrival) -> batch (the oldest item's key) -> run -> answers

While the thread is busy items pile up; when it is free it takes what is there, up to `max_batch`.
So a lone item never waits, and batches grow with the load by themselves. The oldest item chooses
the key, which is why no key can starve another. The loop sleeps on an event; nothing here polls.

    cancelled or expired      dropped before it runs; expiry is a timer, also while the batch runs
    run_batch fails           a batch of several runs again one by one: only the guilty item fails
    wrong number of results   a failure like any other
    the loop itself ends      whoever waits gets Unavailable, submit refuses, `fault` says so
"""

import asyncio
import logging
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from itertools import islice
from math import inf
from time import perf_counter
from typing import Generic, TypeVar

from service.errors import DeadlineExceeded, InferenceFailed, Overloaded, Unavailable

log = logging.getLogger(__name__)

Key = TypeVar("Key", bound=Hashable)
Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class BatchLimits:
    """Items of one batch, seconds to wait for more, items that may wait, seconds a run may take."""

    max_batch: int
    max_wait_s: float
    max_waiting: int
    stall_s: float


@dataclass(frozen=True)
class Answer(Generic[Result]):
    """A result, and how it came about.

    Attributes:
        result: what `run_batch` returned for the item.
        queue_s: seconds from `submit` to the start of the run.
        run_s: seconds that the run took.
        batch_number: the same for all items of one run, and for no others.
        batch_size: how many items ran together.
    """

    result: Result
    queue_s: float
    run_s: float
    batch_number: int
    batch_size: int


@dataclass(frozen=True, eq=False)
class _Entry(Generic[Key, Item, Result]):
    key: Key
    item: Item
    # In the time of the event loop.
    deadline: float
    arrived: float
    answer: "asyncio.Future[Answer[Result]]"

    def is_live(self, now: float) -> bool:
        return not self.answer.done() and self.deadline > now


class Batcher(Generic[Key, Item, Result]):
    """Forms batches and runs them until stopped. Must be made inside a running event loop."""

    def __init__(
        self,
        run_batch: Callable[[Key, Sequence[Item]], Sequence[Result]],
        limits: BatchLimits,
        thread: Executor,
    ) -> None:
        self._run_batch = run_batch
        self._limits = limits
        self._thread = thread
        # In order of arrival.
        self._waiting: dict[_Entry[Key, Item, Result], None] = {}
        self._changed = asyncio.Event()
        self._stopping = False
        self._run_began: float | None = None
        self._runs = 0
        self._task = asyncio.create_task(self._work(), name="batcher")
        self._task.add_done_callback(_log_the_end)

    @property
    def waiting(self) -> int:
        """How many items wait; those that run are not among them."""
        return len(self._waiting)

    @property
    def oldest_age_s(self) -> float:
        """Seconds that the oldest waiting item has waited; 0 when none waits."""
        oldest = next(iter(self._waiting), None)
        return 0.0 if oldest is None else perf_counter() - oldest.arrived

    @property
    def fault(self) -> str | None:
        """Why no progress is to be expected, or None when all is well."""
        if self._task.done():
            return "the batch loop has ended"
        if self._run_began is not None:
            run_s = perf_counter() - self._run_began
            if run_s > self._limits.stall_s:
                return f"a batch has been running for {run_s:.0f} s"
        return None

    async def submit(self, key: Key, item: Item, deadline: float = inf) -> Answer[Result]:
        """The answer for `item`. `deadline` is in the event loop's time.

        Raises:
            Overloaded: as many items wait as may.
            Unavailable: stopping or stopped.
            DeadlineExceeded: `deadline` came before the answer.
            InferenceFailed: `run_batch` failed on this item, alone in its batch.
        """
        self._refuse()
        loop = asyncio.get_running_loop()
        entry = _Entry[Key, Item, Result](key, item, deadline, perf_counter(), loop.create_future())
        self._waiting[entry] = None
        self._changed.set()
        try:
            async with asyncio.timeout_at(None if deadline == inf else deadline):
                return await entry.answer
        except TimeoutError as error:
            raise DeadlineExceeded("the deadline passed before the answer was there") from error
        finally:
            self._waiting.pop(entry, None)

    async def stop(self, grace_s: float) -> bool:
        """Takes no more, runs what waits, and ends; after `grace_s` the rest get Unavailable.

        Returns whether all of it was run in time.
        """
        self._stopping = True
        self._changed.set()
        ended, _ = await asyncio.wait([self._task], timeout=grace_s)
        self._task.cancel()
        await asyncio.wait([self._task])
        return self._task in ended

    def _refuse(self) -> None:
        if self._task.done():
            raise _ended()
        if self._stopping:
            raise Unavailable("the server is shutting down", reason="draining")
        if len(self._waiting) >= self._limits.max_waiting:
            raise Overloaded(f"the queue is full: {self._limits.max_waiting} wait")

    async def _work(self) -> None:
        batch: list[_Entry[Key, Item, Result]] = []
        try:
            while await self._batch_is_due():
                batch = self._take()
                if batch:
                    await self._run(batch)
        finally:
            for entry in (*batch, *self._waiting):
                _fail(entry, _ended())

    async def _batch_is_due(self) -> bool:
        """Waits until a batch should run. False once stopping and nothing is left."""
        while not self._waiting:
            if self._stopping:
                return False
            await self._change()
        if self._limits.max_wait_s > 0:
            await self._window()
        return True

    async def _window(self) -> None:
        """Waits until the oldest item's batch is full, or the item has waited long enough."""
        left_s = self._limits.max_wait_s - self.oldest_age_s
        try:
            async with asyncio.timeout(left_s):
                while not (self._stopping or self._is_full()):
                    await self._change()
        except TimeoutError:
            return

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    def _is_full(self) -> bool:
        return len(self._oldest_batch()) == self._limits.max_batch

    def _take(self) -> list[_Entry[Key, Item, Result]]:
        """Removes the next batch from what waits, and whatever is cancelled or expired."""
        now = asyncio.get_running_loop().time()
        self._waiting = {entry: None for entry in self._waiting if entry.is_live(now)}
        batch = self._oldest_batch()
        for entry in batch:
            del self._waiting[entry]
        return batch

    def _oldest_batch(self) -> list[_Entry[Key, Item, Result]]:
        oldest = next(iter(self._waiting), None)
        if oldest is None:
            return []
        same = (entry for entry in self._waiting if entry.key == oldest.key)
        return list(islice(same, self._limits.max_batch))

    async def _run(self, batch: list[_Entry[Key, Item, Result]]) -> None:
        """Runs a batch and answers it; when it fails, each of its items alone."""
        failure = await self._attempt(batch)
        if failure is None:
            return
        if len(batch) == 1:
            log.error("an item failed, alone in its batch", exc_info=failure)
            _fail(batch[0], InferenceFailed("the model failed on this input"))
            return
        log.warning("a batch of %d failed: its items run again, one by one", len(batch))
        for entry in batch:
            if entry.is_live(asyncio.get_running_loop().time()):
                await self._run([entry])

    async def _attempt(self, batch: list[_Entry[Key, Item, Result]]) -> BaseException | None:
        """Runs a batch once and answers its items. Returns what went wrong, if anything did."""
        self._run_began = began = perf_counter()
        self._runs += 1
        loop = asyncio.get_running_loop()
        results = await loop.run_in_executor(self._thread, self._guarded, batch)
        self._run_began = None
        if isinstance(results, BaseException):
            return results
        run_s = perf_counter() - began
        for entry, result in zip(batch, results, strict=True):
            if not entry.answer.done():
                queue_s = began - entry.arrived
                entry.answer.set_result(Answer(result, queue_s, run_s, self._runs, len(batch)))
        return None

    def _guarded(self, batch: list[_Entry[Key, Item, Result]]) -> Sequence[Result] | BaseException:
        """The results, or what was raised: as a value, since some exceptions would end the loop.

        (StopIteration cannot be set on a future, and CancelledError or SystemExit would stop us.)
        """
        try:
            results = self._run_batch(batch[0].key, [entry.item for entry in batch])
            if len(results) != len(batch):
                return RuntimeError(f"run_batch: expected {len(batch)} results, got {len(results)}")
            return results
        except BaseException as error:
            return error


def _fail(entry: _Entry[Key, Item, Result], error: Exception) -> None:
    if not entry.answer.done():
        entry.answer.set_exception(error)


def _ended() -> Unavailable:
    return Unavailable("the server has stopped answering", reason="ended")


def _log_the_end(task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and task.exception() is not None:
        log.critical("the batch loop ended", exc_info=task.exception())
