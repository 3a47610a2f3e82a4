"""Dynamic batching: items that wait together run together, and everybody is answered exactly once.

Knows nothing of images, HTTP or ONNX. `run_batch(layout, key, items)` is injected, runs in a thread, and returns one
result per item, in order. Only items of one key and one lane share a batch.

    submit -> waiting (in order of arrival) -> batch (the oldest item's key) -> run -> answers

What to run next is decided here; how many runs go on at once, and how large they are, `Cores` decides. While it has
no room items pile up; when it has, a run takes what is there. So a lone item never waits, and batches grow with the
load by themselves. The oldest item chooses the key, which is why no key can starve another. The loop sleeps on an
event; nothing here polls.

    bulk                      runs when no interactive item waits; that holds an interactive one up for one run at most
    cancelled or expired      dropped before it runs; expiry is a timer, also while the batch runs
    would be late             dropped when its turn comes, as long as others would not be
    run_batch fails           a batch of several runs again one by one: only the guilty item fails
    wrong number of results   a failure like any other
    the loop itself ends      whoever waits gets Unavailable, submit refuses, `fault` says so
"""

import asyncio
import logging
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from time import perf_counter
from typing import Generic, TypeVar

from service.engine.layouts import Cores, Layout
from service.errors import DeadlineExceeded, InferenceFailed, Overloaded, Unavailable
from service.pace import Pace
from service.waiting import Entry, Lane, Waiting

log = logging.getLogger(__name__)

Key = TypeVar("Key", bound=Hashable)
Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class BatchLimits:
    """Seconds to wait for more items, items that may wait, seconds a run may take."""

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
        layout: how the run shared the cores with others.
    """

    result: Result
    queue_s: float
    run_s: float
    batch_number: int
    batch_size: int
    layout: Layout


@dataclass(eq=False)
class _Run(Generic[Key, Item, Result]):
    """A batch that has its part of the cores; `began` is when it was last run, whole or one by one."""

    layout: Layout
    batch: list[Entry[Key, Item, Answer[Result]]]
    began: float = inf


class Batcher(Generic[Key, Item, Result]):
    """Forms batches and runs them until stopped. Must be made inside a running event loop."""

    def __init__(
        self,
        run_batch: Callable[[Layout, Key, Sequence[Item]], Sequence[Result]],
        limits: BatchLimits,
        cores: Cores,
        threads: Executor,
    ) -> None:
        """`threads` has as many as `cores` has runs at once."""
        self.pace: Pace[Key] = Pace()
        self._run_batch = run_batch
        self._limits = limits
        self._cores = cores
        self._threads = threads
        self._waiting: Waiting[Key, Item, Answer[Result]] = Waiting()
        self._running: dict[asyncio.Task[None], _Run[Key, Item, Result]] = {}
        self._changed = asyncio.Event()
        self._stopping = False
        self._runs = 0
        self._task = asyncio.create_task(self._work(), name="batcher")
        self._task.add_done_callback(_log_the_end)

    @property
    def waiting(self) -> int:
        """How many items wait; those that run are not among them."""
        return len(self._waiting)

    @property
    def running(self) -> int:
        """How many items run."""
        return sum(len(run.batch) for run in self._running.values())

    @property
    def oldest_age_s(self) -> float:
        """Seconds that the oldest waiting item has waited; 0 when none waits."""
        return self._waiting.oldest_age_s

    @property
    def fault(self) -> str | None:
        """Why no progress is to be expected, or None when all is well."""
        if self._task.done():
            return "the batch loop has ended"
        longest_s = max((perf_counter() - run.began for run in self._running.values()), default=0.0)
        if longest_s > self._limits.stall_s:
            return f"a batch has been running for {longest_s:.0f} s"
        return None

    async def submit(
        self, key: Key, item: Item, deadline: float = inf, lane: Lane = "interactive"
    ) -> Answer[Result]:
        """The answer for `item`. `deadline` is in the event loop's time.

        Raises:
            Overloaded: as many items wait as may.
            Unavailable: stopping or stopped.
            DeadlineExceeded: `deadline` came before the answer, or would have.
            InferenceFailed: `run_batch` failed on this item, alone in its batch.
        """
        self._refuse()
        company = self._cores.company(self.waiting + self.running + 1)
        answer: asyncio.Future[Answer[Result]] = asyncio.get_running_loop().create_future()
        entry = Entry(key, item, deadline, perf_counter(), company, answer)
        self._waiting.add(entry, lane)
        self._changed.set()
        try:
            async with asyncio.timeout_at(None if deadline == inf else deadline):
                return await entry.answer
        except TimeoutError as error:
            raise DeadlineExceeded("the deadline passed before the answer was there") from error
        finally:
            self._waiting.discard(entry)

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
        if self.waiting >= self._limits.max_waiting:
            raise Overloaded(f"the queue is full: {self._limits.max_waiting} wait")

    async def _work(self) -> None:
        try:
            while self.waiting or self._running or not self._stopping:
                self._changed.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._start()):
                        await self._changed.wait()
        finally:
            for entry in list(self._waiting):
                entry.fail(_ended())
            for task in self._running:
                task.cancel()

    def _start(self) -> float | None:
        """Starts what there is room for. Returns the seconds after which to look again though nothing has changed."""
        self._waiting.drop_late(asyncio.get_running_loop().time(), self.pace)
        while self._waiting:
            window_s = self._window_s()
            if window_s > 0:
                return window_s
            layout = self._cores.claim(self._company())
            if layout is None:
                return None
            batch = self._waiting.next_batch(layout.batch)
            for entry in batch:
                self._waiting.discard(entry)
            run = _Run(layout, batch)
            task = asyncio.create_task(self._carry_out(run))
            self._running[task] = run
            task.add_done_callback(self._end)
        return None

    def _end(self, task: "asyncio.Task[None]") -> None:
        run = self._running.pop(task)
        self._cores.release(run.layout)
        if not task.cancelled() and task.exception() is not None:
            log.critical("a run ended in a way that is a fault of ours", exc_info=task.exception())
        for entry in run.batch:
            # Answered, unless the run was given up.
            entry.fail(_ended())
        self._changed.set()

    def _company(self) -> int:
        """How many to make room for: who is inside, or the company that the next item came into, if that is more."""
        return max(self.waiting + self.running, next(iter(self._waiting)).company)

    def _window_s(self) -> float:
        """Seconds that a batch still waits for more items; 0 when it is full, or has waited long enough."""
        most = self._cores.most_batch
        if self._stopping or len(self._waiting.next_batch(most)) == most:
            return 0.0
        return self._limits.max_wait_s - self.oldest_age_s

    async def _carry_out(self, run: _Run[Key, Item, Result]) -> None:
        """Runs a batch and answers it; when it fails, each of its items alone."""
        failure = await self._attempt(run, run.batch)
        if failure is None:
            return
        if len(run.batch) == 1:
            _blame(run.batch[0], failure)
            return
        log.warning("a batch of %d failed: its items run again, one by one", len(run.batch))
        for entry in run.batch:
            if entry.is_live(asyncio.get_running_loop().time()):
                failure = await self._attempt(run, [entry])
                if failure is not None:
                    _blame(entry, failure)

    async def _attempt(
        self, run: _Run[Key, Item, Result], batch: list[Entry[Key, Item, Answer[Result]]]
    ) -> BaseException | None:
        """Runs `batch` once and answers its items. Returns what went wrong, if anything did."""
        run.began = began = perf_counter()
        self._runs += 1
        number, loop = self._runs, asyncio.get_running_loop()
        results = await loop.run_in_executor(self._threads, self._guarded, run.layout, batch)
        if isinstance(results, BaseException):
            return results
        run_s = perf_counter() - began
        self.pace.note(batch[0].key, run_s, len(batch) * run.layout.runs)
        for entry, result in zip(batch, results, strict=True):
            if not entry.answer.done():
                queue_s, size = began - entry.arrived, len(batch)
                entry.answer.set_result(Answer(result, queue_s, run_s, number, size, run.layout))
        return None

    def _guarded(
        self, layout: Layout, batch: list[Entry[Key, Item, Answer[Result]]]
    ) -> Sequence[Result] | BaseException:
        """The results, or what was raised: as a value, since some exceptions would end the loop.

        (StopIteration cannot be set on a future, and CancelledError or SystemExit would stop us.)
        """
        try:
            items = [entry.item for entry in batch]
            results = self._run_batch(layout, batch[0].key, items)
            if len(results) != len(items):
                return RuntimeError(f"run_batch: expected {len(items)} results, got {len(results)}")
            return results
        except BaseException as error:
            return error


def _blame(entry: Entry[Key, Item, Answer[Result]], failure: BaseException) -> None:
    log.error("an item failed, alone in its batch", exc_info=failure)
    entry.fail(InferenceFailed("the model failed on this input"))


def _ended() -> Unavailable:
    return Unavailable("the server has stopped answering", reason="ended")


def _log_the_end(task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and task.exception() is not None:
        log.critical("the batch loop ended", exc_info=task.exception())
