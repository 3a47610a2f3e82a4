"""The load that every server is given, and what came of it.

A closed loop has so many connections, each of which sends its next request when it has its answer: it finds the most
that a server does, but waits with it. An open loop sends when the time has come, whatever the server does, and counts
an answer's seconds from there: a server that falls behind cannot hide it by holding the client up.
"""

import asyncio
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import cycle
from typing import Self

from benchmarks.server.connection import LOST, Connection, Reply, connect

LIMIT_S = 30.0  # the longest that an answer is waited for, as our server's own default
PAUSE_S = 0.05  # after a failure, so that a server that refuses is not asked without end
RAMP_S = 0.5  # a closed loop runs so long before it counts


@dataclass
class Load:
    """What came of a load.

    Attributes:
        latencies_s: of each answer, ascending once the load has ended.
        failures: status, or LOST, -> how many.
        answered: answers within the window.
        window_s: the seconds that were counted.
        client_cores: how much of one core the client itself took.
    """

    latencies_s: list[float] = field(default_factory=list)
    failures: dict[int, int] = field(default_factory=dict)
    answered: int = 0
    window_s: float = 0.0
    client_cores: float = 0.0

    @property
    def images_per_s(self) -> float:
        """Answers a second."""
        return self.answered / self.window_s

    @property
    def failed(self) -> int:
        """Requests without an answer."""
        return sum(self.failures.values())

    def percentile_s(self, percent: float) -> float:
        """The seconds that so many percent of all requests took at most; one that failed took infinitely long.

        Raises:
            ValueError: there were no requests.
        """
        every = sorted(self.latencies_s) + [math.inf] * self.failed
        if not every:
            raise ValueError("no request was sent")
        return every[max(0, math.ceil(percent / 100 * len(every)) - 1)]

    def note(self, reply: Reply, began: float, now: float) -> None:
        """Count a reply that came `now` to a request of `began`."""
        if reply.good:
            self.latencies_s.append(now - began)
        else:
            self.failures[reply.status] = self.failures.get(reply.status, 0) + 1


class _Cost:
    """The cores that this process takes meanwhile."""

    def __enter__(self) -> Self:
        self._wall, self._cpu = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.cores = (time.process_time() - self._cpu) / (time.perf_counter() - self._wall)


async def ask(connection: Connection, request: bytes) -> Reply:
    """The reply; LOST when it does not come within LIMIT_S."""
    try:
        async with asyncio.timeout(LIMIT_S):
            return await connection.ask(request)
    except TimeoutError:
        connection.close()
        return Reply(LOST, b"")


async def closed_loop(
    port: int, requests: Sequence[bytes], connections: int, seconds: float, patient: bool = False
) -> Load:
    """What so many connections get within `seconds`, after RAMP_S that do not count.

    Who is refused comes again after PAUSE_S, or `patient` after what Retry-After said. An answer counts for the rate if
    it comes within the window, and for the latencies also if it comes later.
    """
    load, upcoming, clock = Load(window_s=seconds), cycle(requests), time.perf_counter
    opens = clock() + RAMP_S
    closes = opens + seconds

    async def one_after_another() -> None:
        connection = await connect(port)
        while (began := clock()) < closes:
            if not connection.open:
                connection = await connect(port)
            reply = await ask(connection, next(upcoming))
            now = clock()
            load.answered += reply.good and opens <= now < closes
            if now >= opens:
                load.note(reply, began, now)
            if not reply.good:
                pause_s = max(PAUSE_S, reply.retry_after_s) if patient else PAUSE_S
                await asyncio.sleep(min(pause_s, max(0.0, closes - now)))
        connection.close()

    with _Cost() as cost:
        await asyncio.gather(*(one_after_another() for _ in range(connections)))
    load.client_cores = cost.cores
    return load


async def open_loop(
    port: int, requests: Sequence[bytes], arrivals_s: Sequence[float], seconds: float
) -> Load:
    """What requests at `arrivals_s`, all within `seconds`, get; each over a free connection, or else one more."""
    load, upcoming, clock = Load(window_s=seconds), cycle(requests), time.perf_counter
    free: list[Connection] = []
    starts = clock()

    async def one(arrival_s: float, request: bytes) -> None:
        connection = free.pop() if free else await connect(port)
        if not connection.open:
            connection = await connect(port)
        reply = await ask(connection, request)
        now = clock()
        load.answered += reply.good and now < starts + seconds
        load.note(reply, starts + arrival_s, now)
        free.append(connection)

    with _Cost() as cost:
        async with asyncio.TaskGroup() as group:
            for arrival_s, request in zip(arrivals_s, upcoming, strict=False):
                await asyncio.sleep(starts + arrival_s - clock())
                group.create_task(one(arrival_s, request))
    for connection in free:
        connection.close()
    load.client_cores = cost.cores
    return load
