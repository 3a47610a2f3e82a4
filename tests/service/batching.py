"""A batcher for tests: its items and keys are words."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from service.batcher import Answer, Batcher, BatchLimits
from service.engine.layouts import Cores, Layout
from service.waiting import Lane
from tests.service.fakes import Runs

LIMITS = BatchLimits(max_wait_s=0.0, max_waiting=100, stall_s=60.0)
Words = Batcher[str, str, str]


@asynccontextmanager
async def batching(
    runs: Runs, *layouts: Layout, max_batch: int = 3, **limits: Any
) -> AsyncIterator[Words]:
    """A batcher that runs `runs`, one at a time where there are no `layouts`; stopped at the end."""
    cores = Cores(layouts or [Layout(1, 1, max_batch)])
    with ThreadPoolExecutor(cores.most_runs) as threads:
        batcher: Words = Batcher(runs, replace(LIMITS, **limits), cores, threads)
        try:
            yield batcher
        finally:
            runs.open()
            await batcher.stop(grace_s=30)


async def queue(
    batcher: Words, *items: str, key: str = "k", lane: Lane = "interactive"
) -> list[asyncio.Task[Answer[str]]]:
    """Tasks that have submitted `items`, in order, and wait."""
    tasks = []
    for item in items:
        tasks.append(asyncio.create_task(batcher.submit(key, item, lane=lane)))
        await asyncio.sleep(0)
    return tasks
