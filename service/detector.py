"""The detector: images in, findings out. Joins decoding, the batcher and the engine.

    bytes -> decoding pool -> frame -> batcher (key = bucket) -> engine thread -> findings

Every image of a request goes its own way, so a bad one fails alone and those of one bucket share a
batch, also with the images of other requests.
"""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from math import prod
from time import perf_counter
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from service.admission import Admission, Permit
from service.artifact.manifest import Manifest
from service.artifact.tensors import Outputs
from service.batcher import Answer, Batcher, BatchLimits
from service.detections import Detected, Wanted, detected
from service.errors import InvalidImage, ServiceError
from service.metrics import Metrics
from service.pictures.framing import Frame, Framing, Size
from service.pictures.pool import DecodingPool
from service.readiness import Readiness, shapes_to_warm
from service.regions import NO_REGIONS, Regions, in_frame
from service.settings import Settings

# After uvicorn has drained the requests only the batch in the engine can be left.
STOP_GRACE_S = 5.0


class Model(Protocol):
    """What the detector needs of an engine."""

    manifest: Manifest

    @property
    def device(self) -> str:
        """What it runs on: cpu, or the name of a GPU's provider."""

    def run(
        self,
        frames: Sequence[NDArray[np.uint8]],
        sizes: Sequence[Size],
        regions: Sequence[Regions] = (),
    ) -> Outputs:
        """The outputs for N frames uint8 [3, H, W] with content (height, width) and `regions` in their pixels."""


@dataclass(frozen=True)
class SentImage:
    """An image of a request: its bytes, or why there are none, and the regions that came with it."""

    content: bytes | InvalidImage
    regions: Regions = field(default_factory=lambda: NO_REGIONS)


@dataclass(frozen=True)
class Framed:
    """What one place in a batch holds: a frame, and the regions in its pixels."""

    frame: Frame
    regions: Regions


@dataclass(frozen=True)
class Found:
    """What was found in one image, the seconds of its stages, and the batch that it ran in."""

    detected: Detected
    decode_s: float
    queue_s: float
    inference_s: float
    batch_number: int
    batch_size: int
    bucket: Size


class Detector:
    """Answers images with detections. Must be made inside a running event loop.

    Attributes:
        manifest: the model's.
        readiness: whether requests are welcome; `warm_up` makes it so.
        stopped: whether the engine's thread has come back, once `stop` was called.
    """

    def __init__(self, model: Model, settings: Settings, metrics: Metrics) -> None:
        self.manifest = model.manifest
        self.metrics = metrics
        self.stopped = False
        self._model = model
        self._timeout_s = settings.timeout_s
        self._admission = Admission(settings.queue_images, metrics.rate.pace)
        framing = Framing(model.manifest.resize, model.manifest.buckets, settings.max_pixels)
        self._decoding = DecodingPool(framing, settings.decode_threads)
        self._engine_thread = ThreadPoolExecutor(1, "engine")
        limits = BatchLimits(
            settings.max_batch, settings.max_wait_s, settings.queue_images, settings.stall_s
        )
        self._batcher: Batcher[Size, Framed, Outputs] = Batcher(
            self._run_batch, limits, self._engine_thread
        )
        shapes = shapes_to_warm(model.manifest.buckets, model.device, settings.max_batch)
        self.readiness = Readiness(shapes, self._run_empty, lambda: self._batcher.fault)
        metrics.queue_images.set_function(lambda: self._batcher.waiting)
        metrics.queue_oldest_age_seconds.set_function(lambda: self._batcher.oldest_age_s)
        metrics.ready.set_function(lambda: self.readiness.not_ready is None)

    @property
    def waiting(self) -> int:
        """How many images wait for a batch."""
        return self._batcher.waiting

    async def warm_up(self) -> None:
        """Runs every bucket in every batch size whose first run would be slow; then it is ready."""
        await self.readiness.warm_up(self._engine_thread)

    async def stop(self) -> None:
        """Drains, and lets go of the threads; `stopped` tells whether the engine's came back."""
        self.readiness.drain()
        in_time = await self._batcher.stop(STOP_GRACE_S)
        free = asyncio.get_running_loop().run_in_executor(self._engine_thread, int)
        await asyncio.wait([free], timeout=STOP_GRACE_S if in_time else 0)
        self.stopped = free.done()
        self._decoding.stop()
        self._engine_thread.shutdown(wait=False, cancel_futures=True)

    def admit(self) -> AbstractContextManager[Permit]:
        """A permit for one image. Raises Overloaded, or Unavailable when not ready."""
        closed = self.readiness.closed
        if closed is not None:
            raise closed
        return self._admission.admit()

    def deadline(self, timeout_s: float | None) -> float:
        """The event loop's time at which a request that begins now must have been answered.

        A client may ask for less than the server's own limit, not for more: it holds a place until then.
        """
        left_s = self._timeout_s if timeout_s is None else min(timeout_s, self._timeout_s)
        return asyncio.get_running_loop().time() + left_s

    async def detect(
        self, images: Sequence[SentImage], wanted: Wanted, deadline: float
    ) -> list[Found | ServiceError]:
        """For every image, in order, what was found in it or why nothing could be."""
        # A group: if one fails unexpectedly, none goes on without its permit.
        async with asyncio.TaskGroup() as group:
            answers = [group.create_task(self._answer(each, wanted, deadline)) for each in images]
        return [answer.result() for answer in answers]

    async def _answer(
        self, image: SentImage, wanted: Wanted, deadline: float
    ) -> Found | ServiceError:
        try:
            found = await self._find(image, wanted, deadline)
        except ServiceError as error:
            self.metrics.images.labels(error.reason).inc()
            return error
        except asyncio.CancelledError:
            self.metrics.images.labels("cancelled").inc()
            raise
        except Exception:
            self.metrics.images.labels("error").inc()
            raise
        self.metrics.observe_answer(found.detected)
        return found

    async def _find(self, image: SentImage, wanted: Wanted, deadline: float) -> Found:
        if isinstance(image.content, InvalidImage):
            raise image.content
        began = perf_counter()
        frame = await self._decoding.frame(image.content, deadline)
        decode_s = perf_counter() - began
        framed = Framed(frame, in_frame(image.regions, frame))
        answer = await self._batcher.submit(frame.bucket, framed, deadline)
        self._observe_stages(decode_s, answer)
        return Found(
            detected=detected(answer.result, frame, self.manifest, wanted, len(image.regions)),
            decode_s=decode_s,
            queue_s=answer.queue_s,
            inference_s=answer.run_s,
            batch_number=answer.batch_number,
            batch_size=answer.batch_size,
            bucket=frame.bucket,
        )

    def _observe_stages(self, decode_s: float, answer: Answer[Outputs]) -> None:
        self.metrics.stage_seconds.labels("decode").observe(decode_s)
        self.metrics.stage_seconds.labels("queue").observe(answer.queue_s)
        counts = answer.result.proposal_counts
        for level, count in zip(self.manifest.levels, counts, strict=True):
            self.metrics.proposals.labels(level.name).observe(count)

    def _run_batch(self, bucket: Size, batch: Sequence[Framed]) -> list[Outputs]:
        """The outputs of each frame, all of one bucket. Runs in the engine thread."""
        began = perf_counter()
        frames = [each.frame for each in batch]
        sizes = [frame.content for frame in frames]
        regions = [each.regions for each in batch]
        run = partial(self._model.run, [frame.pixels for frame in frames], sizes, regions)
        outputs = self.readiness.watched(run)
        filled = sum(map(prod, sizes)) / (len(frames) * prod(bucket))
        self.metrics.observe_batch(len(frames), 1 - filled, perf_counter() - began)
        return [outputs[index] for index in range(len(outputs.counts))]

    def _run_empty(self, bucket: Size, size: int) -> None:
        """Runs a batch of black frames."""
        self._model.run([np.zeros((3, *bucket), np.uint8)] * size, [bucket] * size)
