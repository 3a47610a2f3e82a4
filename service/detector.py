"""The detector: pictures in, findings out. Joins decoding, the batcher and the engine.

    bytes -> decode threads -> frame -> batcher (key = bucket) -> engine thread -> findings

Every image of a request goes its own way, so a bad one fails alone and those of one bucket share a
batch, also with the images of other requests.
"""

import asyncio
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import product
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
from service.errors import DeadlineExceeded, InvalidImage, ServiceError, Unavailable
from service.metrics import Metrics
from service.pictures.framing import Frame, Framing, Size, load_frame
from service.settings import Settings

log = logging.getLogger(__name__)

Picture = bytes | InvalidImage  # InvalidImage: what stands where the bytes should could not be read
# After uvicorn has drained the requests only the batch in the engine can be left.
STOP_GRACE_S = 5.0


class Model(Protocol):
    """What the detector needs of an engine."""

    manifest: Manifest

    @property
    def device(self) -> str:
        """What it runs on: cpu, or the name of a GPU's provider."""

    def run(self, frames: Sequence[NDArray[np.uint8]], sizes: Sequence[Size]) -> Outputs:
        """The outputs for N frames uint8 [3, H, W] with content (height, width)."""


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

    Not ready until `warm_up` has run every bucket; not ready again once `drain` was called.
    """

    def __init__(self, model: Model, settings: Settings, metrics: Metrics) -> None:
        self.manifest = model.manifest
        self.warmed: list[tuple[Size, int]] = []
        self._model = model
        self.metrics = metrics
        self._timeout_s = settings.timeout_s
        self._framing = Framing(model.manifest.resize, model.manifest.buckets, settings.max_pixels)
        self._shapes = list(
            product(model.manifest.buckets, sizes_to_warm(model.device, settings.max_batch))
        )
        self._made = perf_counter()
        self._draining = False
        self._broken = False
        self.stopped = False
        self._admission = Admission(settings.queue_images, metrics.rate.pace)
        self._decode_threads = ThreadPoolExecutor(settings.decode_threads, "decode")
        self._engine_thread = ThreadPoolExecutor(1, "engine")
        limits = BatchLimits(
            settings.max_batch, settings.max_wait_s, settings.queue_images, settings.stall_s
        )
        self._batcher: Batcher[Size, Frame, Outputs] = Batcher(
            self._run_batch, limits, self._engine_thread
        )
        metrics.queue_images.set_function(lambda: self._batcher.waiting)
        metrics.queue_oldest_age_seconds.set_function(lambda: self._batcher.oldest_age_s)
        metrics.ready.set_function(lambda: self.not_ready is None)

    @property
    def waiting(self) -> int:
        """How many images wait for a batch."""
        return self._batcher.waiting

    @property
    def fault(self) -> str | None:
        """Why the process should be restarted, or None when it makes progress."""
        if self._broken:
            return "the model fails on a frame that it took while warming up"
        return self._batcher.fault

    @property
    def not_ready(self) -> Unavailable | None:
        """Why requests should go elsewhere, or None when they are welcome."""
        return self._closed or (Unavailable(self.fault, reason="fault") if self.fault else None)

    @property
    def _closed(self) -> Unavailable | None:
        """Why no request is taken. A broken model is no reason: only a request shows it has healed."""
        if self._draining:
            return Unavailable("the server is shutting down", reason="draining", retry_after_s=1)
        if self._batcher.fault is not None:
            return Unavailable(self._batcher.fault, reason="fault")
        if len(self.warmed) < len(self._shapes):
            done = f"{len(self.warmed)} of {len(self._shapes)} shapes"
            return Unavailable(f"warming up: {done}", retry_after_s=self._warm_up_left_s())
        return None

    def _warm_up_left_s(self) -> float:
        """Seconds until all shapes have run, if the rest take as long as those before."""
        done = len(self.warmed)
        elapsed_s = perf_counter() - self._made
        return elapsed_s * (len(self._shapes) - done) / max(1, done)

    async def warm_up(self) -> None:
        """Runs every bucket in every batch size whose first run would be slow."""
        loop = asyncio.get_running_loop()
        for bucket, size in self._shapes:
            await loop.run_in_executor(self._engine_thread, self._run_empty, bucket, size)
            self.warmed.append((bucket, size))
        seconds = round(perf_counter() - self._made, 3)
        log.info("ready", extra={"fields": {"shapes": len(self._shapes), "warm_up_s": seconds}})

    def warmed_sizes(self) -> dict[Size, list[int]]:
        """For every bucket that has been warmed up, the batch sizes."""
        sizes: dict[Size, list[int]] = {}
        for bucket, size in self.warmed:
            sizes.setdefault(bucket, []).append(size)
        return sizes

    def drain(self) -> None:
        """Takes no more requests; those inside are finished."""
        self._draining = True

    async def stop(self) -> None:
        """Drains, and lets go of the threads; `stopped` tells whether the engine's came back."""
        self.drain()
        in_time = await self._batcher.stop(STOP_GRACE_S)
        free = asyncio.get_running_loop().run_in_executor(self._engine_thread, int)
        await asyncio.wait([free], timeout=STOP_GRACE_S if in_time else 0)
        self.stopped = free.done()
        self._decode_threads.shutdown(wait=False, cancel_futures=True)
        self._engine_thread.shutdown(wait=False, cancel_futures=True)

    def admit(self) -> AbstractContextManager[Permit]:
        """A permit for one image. Raises Overloaded, or Unavailable when not ready."""
        closed = self._closed
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
        self, pictures: Sequence[Picture], wanted: Wanted, deadline: float
    ) -> list[Found | ServiceError]:
        """For every picture, in order, what was found in it or why nothing could be."""
        async with (
            asyncio.TaskGroup() as group
        ):  # if one fails unexpectedly, none goes on without its permit
            answers = [group.create_task(self._answer(p, wanted, deadline)) for p in pictures]
        return [answer.result() for answer in answers]

    async def _answer(
        self, picture: Picture, wanted: Wanted, deadline: float
    ) -> Found | ServiceError:
        try:
            found = await self._find(picture, wanted, deadline)
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

    async def _find(self, picture: Picture, wanted: Wanted, deadline: float) -> Found:
        if isinstance(picture, InvalidImage):
            raise picture
        began = perf_counter()
        frame = await self._decode(picture, deadline)
        decode_s = perf_counter() - began
        answer = await self._batcher.submit(frame.bucket, frame, deadline)
        self._observe_stages(decode_s, answer)
        return Found(
            detected=detected(answer.result, frame, self.manifest, wanted),
            decode_s=decode_s,
            queue_s=answer.queue_s,
            inference_s=answer.run_s,
            batch_number=answer.batch_number,
            batch_size=answer.batch_size,
            bucket=frame.bucket,
        )

    async def _decode(self, data: bytes, deadline: float) -> Frame:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout_at(deadline):
                return await loop.run_in_executor(
                    self._decode_threads, load_frame, data, self._framing
                )
        except TimeoutError as error:
            raise DeadlineExceeded("the deadline passed before the image was decoded") from error

    def _observe_stages(self, decode_s: float, answer: Answer[Outputs]) -> None:
        self.metrics.stage_seconds.labels("decode").observe(decode_s)
        self.metrics.stage_seconds.labels("queue").observe(answer.queue_s)
        counts = answer.result.proposal_counts
        for level, count in zip(self.manifest.levels, counts, strict=True):
            self.metrics.proposals.labels(level.name).observe(count)

    def _run_batch(self, bucket: Size, frames: Sequence[Frame]) -> list[Outputs]:
        """The outputs of each frame, all of one bucket. Runs in the engine thread."""
        began = perf_counter()
        sizes = [frame.content for frame in frames]
        outputs = self._run_checked([frame.pixels for frame in frames], sizes)
        filled = sum(map(prod, sizes)) / (len(frames) * prod(bucket))
        self.metrics.observe_batch(len(frames), 1 - filled, perf_counter() - began)
        return [outputs[index] for index in range(len(outputs.counts))]

    def _run_checked(self, frames: Sequence[NDArray[np.uint8]], sizes: Sequence[Size]) -> Outputs:
        """The model's outputs; when it fails, notes whether the images or the model are to blame.

        A CUDA error, for one, makes every later run of the process fail.
        """
        try:
            outputs = self._model.run(frames, sizes)
        except Exception:
            self._broken = True
            self._run_empty(*self._shapes[0])
            self._broken = False
            raise
        self._broken = False
        return outputs

    def _run_empty(self, bucket: Size, size: int) -> None:
        """Runs a batch of black frames."""
        self._model.run([np.zeros((3, *bucket), np.uint8)] * size, [bucket] * size)


def sizes_to_warm(device: str, max_batch: int) -> list[int]:
    """The batch sizes to run before the first request.

    A GPU chooses algorithms and allocates for every shape that it meets. On the CPU a size that is met
    for the first time was no slower: see docs/decisions/0002-engine-threads.md.
    """
    return sorted({1, max_batch}) if device == "cpu" else list(range(1, max_batch + 1))
