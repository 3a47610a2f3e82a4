"""Where images become frames: light ones in threads, all others in processes.

    a small JPEG    a thread, as that is fastest: milliseconds, nearly all of it outside the interpreter
    the rest        waits, the cheapest for its age first, for a free process

In a process a decoder may keep its interpreter to itself, run for minutes, or crash: the process is ended and replaced,
and only the image that it was at is lost. Threads can be rid of none of it, so they get what cannot last.
docs/decisions/0011-decoding-in-processes.md has what each costs.
"""

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count

from service.errors import DeadlineExceeded, DecodingFailed, ServiceError, Unavailable
from service.pictures.framing import Frame, Framing
from service.pictures.header import Header, header
from service.pictures.process import WorkerDied, WorkerProcess
from service.pictures.tiling import Shot, Tiles, load_shots

log = logging.getLogger(__name__)

# What a baseline JPEG's pixel takes, the unit of a header's cost.
SECONDS_PER_PIXEL = 6.5e-9
# A large image lets small ones pass that come within so many times its own decoding: each waits for its own size.
PATIENCE = 20
# What a thread takes: at most 10 ms of the commonest decoder, and no file that hides much behind a small image.
LIGHT_COST = 1_500_000
LIGHT_BYTES = 2**20
# A worker that does not start would not start at once again.
RESTART_S = 1.0


@dataclass(frozen=True)
class DecodingLimits:
    """How many processes, how much memory each may take, and when a standstill is a fault.

    Attributes:
        workers: processes, and as many threads; one or more.
        memory_bytes: what each process may allocate.
        stall_s: seconds for which images may wait without one being finished.
    """

    workers: int
    memory_bytes: int
    stall_s: float


@dataclass(order=True)
class _Waiting:
    """An image that waits: whose turn it is goes by rank, then by arrival."""

    rank: float
    number: int
    data: bytes = field(compare=False)
    deadline: float = field(compare=False)
    tiles: Tiles = field(compare=False)
    answer: asyncio.Future[list[Shot]] = field(compare=False)

    def succeed(self, shots: list[Shot]) -> None:
        """Answers with the frames, if anybody still waits."""
        if not self.answer.done():
            self.answer.set_result(shots)

    def fail(self, error: ServiceError) -> None:
        """Answers with the error, if anybody still waits."""
        if not self.answer.done():
            self.answer.set_exception(error)


def is_light(said: Header, data: bytes) -> bool:
    """Whether the image is decoded in a thread."""
    return said.format == "JPEG" and said.cost <= LIGHT_COST and len(data) <= LIGHT_BYTES


class DecodingPool:
    """Makes frames as `framing` says. Must be made inside a running event loop.

    The processes start at once, and take images as soon as they have.
    """

    def __init__(self, framing: Framing, limits: DecodingLimits) -> None:
        loop = asyncio.get_running_loop()
        self._framing = framing
        self._limits = limits
        self._queue: asyncio.PriorityQueue[_Waiting] = asyncio.PriorityQueue()
        self._numbers = count()
        self._moved = loop.time()
        self._threads = ThreadPoolExecutor(limits.workers, "decode")
        self._not_starting: dict[int, str] = {}
        self._processes: set[WorkerProcess] = set()
        self._keepers = [
            loop.create_task(self._keep(place), name="decoding") for place in range(limits.workers)
        ]

    @property
    def fault(self) -> str | None:
        """Why decoding makes no progress, or None when it does."""
        if len(self._not_starting) == self._limits.workers:
            return f"no decoding process starts: {next(iter(self._not_starting.values()))}"
        still_s = asyncio.get_running_loop().time() - self._moved
        if self._queue.qsize() and still_s > self._limits.stall_s:
            return f"images wait, and none has been decoded for {still_s:.0f} s"
        return None

    async def frame(self, data: bytes, deadline: float) -> Frame:
        """The frame of the image in `data`. Raises as `shots`."""
        (shot,) = await self.shots(data, deadline)
        return shot.frame

    async def shots(self, data: bytes, deadline: float, tiles: Tiles = "off") -> list[Shot]:
        """The frame of the image in `data`, then those of its tiles. `deadline` is in the event loop's time.

        Raises:
            DeadlineExceeded: `deadline` came before the frame.
            DecodingFailed: the process ended while it decoded the image.
            InvalidImage, TooLarge, UnsupportedMediaType: as `decode_image`.
            Unavailable: the pool was stopped.
        """
        said = header(data)
        try:
            async with asyncio.timeout_at(deadline):
                if said is not None and is_light(said, data):
                    loop = asyncio.get_running_loop()
                    return await loop.run_in_executor(
                        self._threads, load_shots, data, self._framing, tiles
                    )
                cost = said.cost if said else 0
                return await self._in_a_process(data, cost, deadline, tiles)
        except TimeoutError as error:
            raise DeadlineExceeded("the deadline passed before the image was decoded") from error

    async def _in_a_process(
        self, data: bytes, cost: int, deadline: float, tiles: Tiles
    ) -> list[Shot]:
        loop = asyncio.get_running_loop()
        rank = loop.time() + PATIENCE * SECONDS_PER_PIXEL * cost
        waiting = _Waiting(rank, next(self._numbers), data, deadline, tiles, loop.create_future())
        self._queue.put_nowait(waiting)
        try:
            return await waiting.answer
        finally:
            # Its place in the queue may outlive who waits.
            waiting.data = b""

    async def stop(self) -> None:
        """Ends the processes, and answers what is in them with Unavailable; threads end after their image."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.wait(self._keepers)
        # Those of keepers that were cancelled while they waited for the end.
        for process in tuple(self._processes):
            await self._end(process)
        while not self._queue.empty():
            self._queue.get_nowait().fail(_stopped())

    async def _keep(self, place: int) -> None:
        """Has a process at work in this place, one after the other, until cancelled."""
        while True:
            try:
                process = WorkerProcess(self._framing, self._limits.memory_bytes)
            # Neither memory nor descriptors are left for it.
            except OSError as error:
                await self._wait_to_restart(place, str(error.strerror))
                continue
            self._processes.add(process)
            try:
                has_started = await self._has_started(process)
                if has_started:
                    self._not_starting.pop(place, None)
                    while await self._answer(await self._queue.get(), process):
                        pass
            finally:
                await self._end(process)
            if not has_started:
                await self._wait_to_restart(place, f"it ended with status {process.status}")

    async def _has_started(self, process: WorkerProcess) -> bool:
        try:
            await process.started()
        except WorkerDied:
            return False
        return True

    async def _end(self, process: WorkerProcess) -> None:
        try:
            await process.end()
        except TimeoutError as error:
            log.error(str(error))
        self._processes.discard(process)

    async def _wait_to_restart(self, place: int, reason: str) -> None:
        self._not_starting[place] = reason
        log.error("decoding process does not start", extra={"fields": {"reason": reason}})
        await asyncio.sleep(RESTART_S)

    async def _answer(self, waiting: _Waiting, process: WorkerProcess) -> bool:
        """Answers what has waited; whether the process may go on."""
        if waiting.answer.done():
            return True
        if process.has_ended:
            # It died of nothing that was sent, so another takes the image.
            self._queue.put_nowait(waiting)
            return False
        self._moved = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout_at(waiting.deadline):
                waiting.succeed(await process.shots(waiting.data, waiting.tiles))
        except ServiceError as error:
            waiting.fail(error)
        except TimeoutError:
            # Who waits sees for himself.
            _log_end(process, "past the image's deadline")
            return False
        except WorkerDied:
            waiting.fail(DecodingFailed("the decoder ended abnormally on this image"))
            _log_end(process, "died of an image")
            return False
        except asyncio.CancelledError:
            waiting.fail(_stopped())
            raise
        self._moved = asyncio.get_running_loop().time()
        return True


def _stopped() -> Unavailable:
    return Unavailable("the server is shutting down", reason="draining", retry_after_s=1)


def _log_end(process: WorkerProcess, reason: str) -> None:
    log.warning("decoding process ended", extra={"fields": {"pid": process.pid, "reason": reason}})
