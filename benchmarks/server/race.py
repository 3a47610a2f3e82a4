"""A round of one server: started, checked, every cell measured, weighed, ended."""

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import uvloop

from benchmarks.server.answers import Found, agreement, found_in
from benchmarks.server.arrivals import poisson_arrivals
from benchmarks.server.client import Load, ask, closed_loop, open_loop
from benchmarks.server.connection import connect
from benchmarks.server.contenders import ROOT, Contender
from benchmarks.server.others import Others
from benchmarks.server.results import Record, Values
from benchmarks.server.serving import NotServing, serving

SETTLE_S = 0.3  # what the cell before left spinning ends
CONNECTIONS = 16
ATTEMPTS = 3
CALM_S = 5.0
# Of the peak, in percent.
LOADS = (50, 80, 95)
CELLS = ("alone", "crowd", *(f"{load} %" for load in LOADS))
LEAST_AGREEMENT = 0.95
OTHERS = "others_cores"
T = TypeVar("T")


@dataclass(frozen=True)
class Course:
    """What every server has to run.

    Attributes:
        model: an ONNX file.
        photographs: JPEGs.
        expected: what is in each of them.
        cells: some of CELLS.
        seconds: of each.
        peak: images a second; the open loops' rates are parts of it.
        most_others: cores; a cell during which others took more is measured again, ATTEMPTS times in all.
    """

    model: Path
    photographs: Sequence[bytes]
    expected: Sequence[Found]
    cells: Sequence[str]
    seconds: float
    peak: float
    most_others: float

    def record(self, server: str, number: int, cell: str, values: Values) -> Record:
        """A record of this model."""
        return Record(self.model.name, server, number, cell, values)


def round_of(
    contender: Contender, course: Course, number: int, tell: Callable[[Record], None]
) -> None:
    """Round `number` of the contender; `tell` is called with every record as it comes.

    Raises:
        NotServing: it does not start, does not answer, or answers something else.
    """
    requests = [contender.request(each) for each in course.photographs]
    with serving(contender, course.model) as server, _event_loop() as loop:
        loop.run(server.ready(requests[0]))
        # Everything once, four at a time: each frame size is warm, and every answer is looked at.
        loop.run(_check(server.port, requests, course.expected))
        for cell in course.cells:

            def run(cell: str = cell) -> Load:
                return loop.run(_load(server.port, requests, cell, course, number))

            load, others = undisturbed(run, course.most_others)
            values = values_of(load) | {OTHERS: others}
            tell(course.record(contender.name, number, cell, values))
        memory = server.memory()
        weight = {"rss_bytes": memory.rss_bytes, "pss_bytes": memory.pss_bytes}
        tell(course.record(contender.name, number, "memory", dict(weight)))


def peak_of(contender: Contender, course: Course) -> float:
    """The images a second of the contender with CONNECTIONS connections. Raises NotServing."""
    requests = [contender.request(each) for each in course.photographs]
    with serving(contender, course.model) as server, _event_loop() as loop:
        loop.run(server.ready(requests[0]))
        loop.run(_check(server.port, requests, course.expected))

        def run() -> Load:
            return loop.run(closed_loop(server.port, requests, CONNECTIONS, 2 * course.seconds))

        return undisturbed(run, course.most_others)[0].images_per_s


def bare_round(course: Course, number: int, tell: Callable[[Record], None]) -> None:
    """Round `number` of the engine without a server."""
    with tempfile.TemporaryDirectory() as folder:
        for index, photograph in enumerate(course.photographs):
            (Path(folder) / f"{index:03}.jpg").write_bytes(photograph)
        words = ("benchmarks.server.bare", str(course.model), folder, str(course.seconds))

        def run() -> dict[str, dict[str, Values]]:
            done = subprocess.run(
                [sys.executable, "-m", *words], cwd=ROOT, stdout=subprocess.PIPE, check=True
            )
            return dict(json.loads(done.stdout))

        figures, others = undisturbed(run, course.most_others)
    for name, cells in figures.items():
        for cell, values in cells.items():
            tell(course.record(name, number, cell, values | {OTHERS: others}))


def undisturbed(
    run: Callable[[], T], most_others: float, calm_s: float = CALM_S
) -> tuple[T, float]:
    """What `run` gave when others took least of the machine, and how many cores; the first time that it was little."""
    best: tuple[T, float] | None = None
    for _ in range(ATTEMPTS):
        _wait_for_calm(most_others, calm_s)
        with Others() as others:
            result = run()
        if best is None or others.cores < best[1]:
            best = result, others.cores
        if others.cores <= most_others:
            break
    assert best is not None
    return best


def values_of(load: Load) -> Values:
    """A load's figures."""
    return {
        "images_per_s": load.images_per_s,
        "p50_s": load.percentile_s(50),
        "p99_s": load.percentile_s(99),
        "requests": len(load.latencies_s) + load.failed,
        "failed": load.failed,
        "client_cores": load.client_cores,
    }


def _wait_for_calm(most_others: float, calm_s: float) -> None:
    """Returns when others have taken little for SETTLE_S, in which also the cell before ends, or after `calm_s`."""
    until = time.monotonic() + calm_s
    while True:
        with Others() as others:
            time.sleep(SETTLE_S)
        if others.cores <= most_others or time.monotonic() >= until:
            return


async def _load(
    port: int, requests: Sequence[bytes], cell: str, course: Course, number: int
) -> Load:
    if cell in ("alone", "crowd"):
        return await closed_loop(
            port, requests, 1 if cell == "alone" else CONNECTIONS, course.seconds
        )
    load = int(cell.split()[0])
    seed = 1000 * number + load
    arrivals = poisson_arrivals(course.peak * load / 100, course.seconds, seed)
    return await open_loop(port, requests, arrivals, course.seconds)


async def _check(port: int, requests: Sequence[bytes], expected: Sequence[Found]) -> None:
    """Raises NotServing unless every request is answered, and with what is expected."""
    got: list[Found] = [[] for _ in requests]

    async def some(first: int) -> None:
        connection = await connect(port)
        for index in range(first, len(requests), 4):
            if not connection.open:
                connection = await connect(port)
            reply = await ask(connection, requests[index])
            if not reply.good:
                raise NotServing(f"status {reply.status} to photograph {index}")
            got[index] = found_in(reply.body)
        connection.close()

    await asyncio.gather(*map(some, range(4)))
    same = agreement(expected, got)
    if same < LEAST_AGREEMENT:
        raise NotServing(f"only {100 * same:.0f} % of its detections are those of the engine")


def _event_loop() -> asyncio.Runner:
    return asyncio.Runner(loop_factory=uvloop.new_event_loop)
