"""Inference: frames in, outputs out. Joins the batcher, the engine's threads, and what is known of their speed.

frame -> batcher (key = bucket) -> a thread of as many as may run at once -> the model -> outputs of each frame
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from threading import Barrier, BrokenBarrierError
from time import perf_counter
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from service.artifact.manifest import Manifest
from service.artifact.tensors import Outputs
from service.batcher import Answer, Batcher, BatchLimits
from service.engine.layouts import Cores, Layout
from service.engine.tuning import TRIED_BATCH, Timing, candidates, chosen, measured
from service.errors import InferenceFailed
from service.metrics import Metrics
from service.pictures.framing import Frame, Size
from service.readiness import Readiness, shapes_to_warm
from service.regions import Regions
from service.settings import Settings
from service.waiting import Lane

log = logging.getLogger(__name__)

# After uvicorn has drained the requests only the batches in the engine can be left.
STOP_GRACE_S = 5.0
# Of a GPU, where nobody has said otherwise; on a CPU it is measured.
GPU_BATCH = 8


class Model(Protocol):
    """What the detector needs of an engine."""

    manifest: Manifest

    @property
    def device(self) -> str:
        """What it runs on: cpu, or the name of a GPU's provider."""

    @property
    def layouts(self) -> Sequence[Layout]:
        """The ways in which runs may share the device, from one wide run on."""

    def settle(self, layouts: Sequence[Layout]) -> None:
        """Runs have one of `layouts` from now on."""

    def run(
        self,
        frames: Sequence[NDArray[np.uint8]],
        sizes: Sequence[Size],
        regions: Sequence[Regions],
        layout: Layout,
    ) -> Outputs:
        """The outputs for N frames uint8 [3, H, W] with content (height, width) and `regions` in their pixels."""


@dataclass(frozen=True)
class Framed:
    """What one place in a batch holds: a frame, and the regions in its pixels."""

    frame: Frame
    regions: Regions


class Inference:
    """Runs a model. Must be made inside a running event loop.

    Attributes:
        readiness: whether requests are welcome; `warm_up` makes it so.
        timings: how fast the layouts are that were tried while warming up.
        stopped: whether the engine's threads have come back, once `stop` was called.
    """

    def __init__(
        self, model: Model, settings: Settings, metrics: Metrics, layouts: Sequence[Layout] = ()
    ) -> None:
        """`layouts` are those to have without measuring, where the model has them."""
        self._wanted_layouts = layouts
        self.timings: list[Timing] = []
        self.stopped = False
        self._model = model
        self._metrics = metrics
        self._settings = settings
        self._cores = Cores([replace(model.layouts[0], batch=self._batches()[0])])
        self._most_runs = max(layout.runs for layout in model.layouts)
        self._threads = ThreadPoolExecutor(self._most_runs, "engine")
        limits = BatchLimits(settings.max_wait_s, settings.queue_images, settings.stall_s)
        self._batcher: Batcher[Size, Framed, Outputs] = Batcher(
            self._run_batch, limits, self._cores, self._threads
        )
        shapes = shapes_to_warm(model.manifest.buckets, model.device, self._batches()[-1])
        self.readiness = Readiness(shapes, self._run_empty, lambda: self._batcher.fault)

    def show(self) -> None:
        """Lets the metrics say what waits here, and nowhere else."""
        self._metrics.queue_images.set_function(lambda: self._batcher.waiting)
        self._metrics.queue_oldest_age_seconds.set_function(lambda: self._batcher.oldest_age_s)

    @property
    def waiting(self) -> int:
        """How many images wait for a batch."""
        return self._batcher.waiting

    @property
    def layouts(self) -> tuple[Layout, ...]:
        """How runs share the cores."""
        return self._cores.layouts

    @property
    def image_s(self) -> float:
        """Seconds that an image adds for those behind it, as it has been lately."""
        return self._batcher.pace.mean_item_s

    async def outputs(self, framed: Framed, deadline: float, lane: Lane) -> Answer[Outputs]:
        """The outputs for one frame, and the batch that it ran in. Raises what `Batcher.submit` raises."""
        return await self._batcher.submit(framed.frame.bucket, framed, deadline, lane)

    async def outputs_of_all(self, framed: Framed) -> dict[str, Outputs]:
        """The outputs for one frame on each number of threads that a run may have. Raises InferenceFailed."""
        loop, found = asyncio.get_running_loop(), dict[str, Outputs]()
        for layout in self._model.layouts:
            run = partial(self._run_batch, layout, framed.frame.bucket, [framed])
            try:
                [found[f"threads: {layout.threads}"]] = await loop.run_in_executor(
                    self._threads, run
                )
            except Exception as error:
                raise InferenceFailed("the model failed on this input") from error
        return found

    async def warm_up(self, check: Callable[[], Awaitable[None]]) -> None:
        """Runs every frame whose first run would be slow, and measures what pays; then `check`, and it is ready."""

        async def settle_and_check() -> None:
            await self._settle()
            await check()

        await self.readiness.warm_up(self._threads, settle_and_check)

    async def stop(self) -> None:
        """Runs what waits, and lets go of the threads; `stopped` tells whether they came back."""
        in_time = await self._batcher.stop(STOP_GRACE_S)
        self.stopped = await self._threads_are_free(STOP_GRACE_S if in_time else 0)
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _threads_are_free(self, grace_s: float) -> bool:
        """Whether all of the engine's threads meet within `grace_s`; one that is in the engine does not come."""
        barrier, loop = Barrier(self._most_runs), asyncio.get_running_loop()

        def meet() -> None:
            with suppress(BrokenBarrierError):
                barrier.wait()

        met = [loop.run_in_executor(self._threads, meet) for _ in range(self._most_runs)]
        await asyncio.wait(met, timeout=grace_s)
        free = all(each.done() for each in met)
        barrier.abort()
        return free

    def _run_batch(self, layout: Layout, bucket: Size, batch: Sequence[Framed]) -> list[Outputs]:
        """The outputs of each frame, all of one bucket. Runs in one of the engine's threads."""
        began = perf_counter()
        frames = [each.frame for each in batch]
        sizes = [frame.content for frame in frames]
        regions = [each.regions for each in batch]
        run = partial(self._model.run, [frame.pixels for frame in frames], sizes, regions, layout)
        outputs = self.readiness.watched(run)
        filled = sum(map(prod, sizes)) / (len(frames) * prod(bucket))
        self._metrics.observe_batch(len(frames), 1 - filled, perf_counter() - began)
        return [outputs[index] for index in range(len(outputs.counts))]

    def _run_empty(self, bucket: Size, size: int, layout: Layout | None = None) -> None:
        """Runs a batch of black frames."""
        frames = [np.zeros((3, *bucket), np.uint8)] * size
        self._model.run(frames, [bucket] * size, (), layout or self._model.layouts[0])

    def _batches(self) -> list[int]:
        """The largest batches that runs may have, of which one is chosen; one only where somebody has decided."""
        if self._settings.max_batch:
            return [self._settings.max_batch]
        tried = [1, TRIED_BATCH] if self._model.device == "cpu" else [GPU_BATCH]
        most = self._model.manifest.limits.max_batch
        return sorted({min(each, most) for each in tried})

    async def _settle(self) -> None:
        """Measures the layouts, where there is a choice, and keeps those that pay, or that somebody has decided on."""
        there = {(layout.runs, layout.threads) for layout in self._model.layouts}
        wanted = {(layout.runs, layout.threads) for layout in self._wanted_layouts}
        self._keep(self._wanted_layouts if wanted and wanted <= there else await self._chosen())

    async def _chosen(self) -> list[Layout]:
        batches = self._batches()
        layouts = [replace(layout, batch=batches[0]) for layout in self._model.layouts]
        tried = candidates(layouts, batches)
        buckets = sorted(self._model.manifest.buckets, key=prod)
        middle = buckets[len(buckets) // 2]
        if len(tried) > 1:
            self.timings = await measured(
                tried, lambda layout: self._run_empty(middle, layout.batch, layout), self._threads
            )
        kept = chosen(layouts, self.timings)
        if self._settings.runners:
            batch_of = {layout.runs: layout.batch for layout in kept}
            kept = [replace(each, batch=batch_of.get(each.runs, each.batch)) for each in layouts]
        return kept

    def _keep(self, kept: Sequence[Layout]) -> None:
        self._model.settle(kept)
        self._cores.layouts = tuple(kept)
        fields = {f"{each.runs}x{each.threads}": each.batch for each in kept}
        log.info("runs x threads: batch", extra={"fields": fields})
