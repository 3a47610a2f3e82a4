"""What pays on this machine with this file: one wide run or narrow ones, images alone or in batches.

Measured while the server warms up, and not believed: it depends on the network, its precision, the number of cores and
what else they do. Every candidate runs in turn, over and over until the time is up, and its fastest run counts: what
else goes on only ever makes a run slower. What was not run twice says nothing: the first run of a session is slow.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from time import perf_counter

from service.engine.layouts import Layout

# Of warming up; a candidate that would not end within it is not tried.
BUDGET_S = 2.0
# A batch that large is tried on a CPU beside single images.
TRIED_BATCH = 4
# A batch holds up whoever is in it, and a second session takes memory: what they gain must be more than noise.
BATCH_GAIN = 1.1
LAYOUT_GAIN = 1.05
# Fewer rounds are no evidence.
LEAST_ROUNDS = 2


@dataclass(frozen=True)
class Timing:
    """How fast a layout is: seconds of its runs, all at once, the images a second that this makes, and the rounds."""

    layout: Layout
    run_s: float
    images_per_s: float
    rounds: int


def candidates(layouts: Sequence[Layout], batches: Sequence[int]) -> list[Layout]:
    """Every one of `layouts` with every one of `batches`, what is soonest measured first."""
    tried = [replace(layout, batch=batch) for layout in layouts for batch in batches]
    return sorted(tried, key=lambda layout: layout.runs * layout.batch)


async def measured(
    tried: Sequence[Layout],
    run: Callable[[Layout], object],
    threads: Executor,
    budget_s: float = BUDGET_S,
) -> list[Timing]:
    """The timings of those of `tried` that `budget_s` was enough for; always of the first."""
    began, best, rounds = perf_counter(), dict[Layout, float](), Counter[Layout]()
    # Every candidate has had its turn, or no more fit.
    while True:
        image_s = min((s / (each.runs * each.batch) for each, s in best.items()), default=0.0)
        ran = False
        for layout in tried:
            expected_s = best.get(layout, image_s * layout.runs * layout.batch)
            if best and perf_counter() - began + expected_s > budget_s:
                continue
            seconds = await _seconds(layout, run, threads)
            best[layout], ran = min(best.get(layout, seconds), seconds), True
            rounds[layout] += 1
            image_s = image_s or seconds / (layout.runs * layout.batch)
        if not ran:
            break
    return [
        Timing(layout, best[layout], layout.runs * layout.batch / best[layout], rounds[layout])
        for layout in tried
        if layout in best
    ]


async def _seconds(layout: Layout, run: Callable[[Layout], object], threads: Executor) -> float:
    """Until as many runs as the layout has at once have ended."""
    loop = asyncio.get_running_loop()
    began = perf_counter()
    await asyncio.gather(*(loop.run_in_executor(threads, run, layout) for _ in range(layout.runs)))
    return perf_counter() - began


def chosen(layouts: Sequence[Layout], timings: Sequence[Timing]) -> list[Layout]:
    """Those of `layouts` that pay, from one wide run on, with the batch that pays in place of their own.

    One that does no more than those before it is left out, if there is evidence. Without any, a layout is kept: in all
    that was ever measured narrow runs did more.
    """
    kept: list[Layout] = []
    most = 0.0
    for layout in layouts:
        own = [each for each in timings if each.layout.runs == layout.runs]
        best = _best_batch(own) if own else None
        if best is None or best.rounds < LEAST_ROUNDS:
            kept.append(layout)
        elif best.images_per_s >= LAYOUT_GAIN * most:
            kept.append(best.layout)
        most = max(most, best.images_per_s if best else 0.0)
    return kept


def _best_batch(timings: Sequence[Timing]) -> Timing:
    """The fastest of `timings`, which differ in their batch; the smallest unless a larger one gains enough."""
    best, *larger = sorted(timings, key=lambda timing: timing.layout.batch)
    for timing in larger:
        enough = min(timing.rounds, best.rounds) >= LEAST_ROUNDS
        if enough and timing.images_per_s >= BATCH_GAIN * best.images_per_s:
            best = timing
    return best
