"""The detector: images in, findings out. Joins admission, decoding and inference.

    bytes -> header -> admission -> decoding pool -> frame -> inference -> findings

Every image of a request goes its own way, so a bad one fails alone and those of one bucket share a
batch, also with the images of other requests.
"""

import asyncio
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from math import inf
from time import perf_counter

from service.admission import Admission, AdmissionLimits, Permit, Rates
from service.artifact.tensors import Outputs
from service.batcher import Answer
from service.detections import Detected, Wanted
from service.engine.layouts import Layout
from service.errors import InvalidImage, ServiceError, TooLarge
from service.golden import Verdict, refuse_wrong, verdicts
from service.inference import Framed, Inference, Model
from service.merging import detected_in
from service.metrics import Metrics
from service.pace import Pace
from service.pictures.drawer import Drawer, DrawingLimits
from service.pictures.drawing import Mark, PictureType
from service.pictures.framing import Frame, Framing, Size
from service.pictures.pool import DecodingLimits, DecodingPool
from service.pictures.tiling import Shot, Tiles, costs_of
from service.regions import NO_REGIONS, Regions, in_frame
from service.settings import Settings
from service.waiting import Lane

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SentImage:
    """An image of a request: its bytes, or why there are none, and the regions that came with it."""

    content: bytes | InvalidImage
    regions: Regions = field(default_factory=lambda: NO_REGIONS)


@dataclass(frozen=True)
class Found:
    """What was found in one image, the seconds of its stages, and the batch that it ran in.

    `inferred` is when its batch had run, by `perf_counter`.
    """

    detected: Detected
    decode_s: float
    queue_s: float
    inference_s: float
    inferred: float
    batch_number: int
    batch_size: int
    bucket: Size
    layout: Layout


@dataclass(frozen=True)
class Work:
    """How the images of a request are to be answered.

    Attributes:
        wanted: of what is found.
        deadline: in the event loop's time.
        lane: whether others have the right of way.
        tiles: whether parts of a large image are looked at, too.
    """

    wanted: Wanted
    deadline: float
    lane: Lane = "interactive"
    tiles: Tiles = "off"


class Detector:
    """Answers images with detections. Must be made inside a running event loop.

    Attributes:
        manifest: the model's.
        inference: what runs it, and whether it can.
        admission: what is inside, and who may come in.
    """

    def __init__(
        self, model: Model, settings: Settings, metrics: Metrics, layouts: Sequence[Layout] = ()
    ) -> None:
        """`layouts` are those of `Inference`."""
        self.manifest = model.manifest
        self.metrics = metrics
        self.inference = Inference(model, settings, metrics, layouts)
        self._users = 0
        self._unused = asyncio.Event()
        self._unused.set()
        self.readiness = self.inference.readiness
        limits = AdmissionLimits(settings.queue_images, settings.queue_bytes)
        self.admission = Admission(limits, self._rates)
        self._settings = settings
        framing = Framing(model.manifest.resize, model.manifest.buckets, settings.max_pixels)
        self._decoding = DecodingPool(
            framing,
            DecodingLimits(settings.decode_workers, settings.decode_memory_bytes, settings.stall_s),
        )
        self._drawer = Drawer(
            DrawingLimits(
                settings.decode_workers, settings.decode_memory_bytes, settings.max_pixels
            )
        )
        self._decoding_pace: Pace[None] = Pace()
        self.readiness.watch(lambda: self._decoding.fault)

    def show(self) -> None:
        """Lets the metrics say how this detector is, and no other."""
        self.metrics.ready.set_function(lambda: self.readiness.not_ready is None)
        self.inference.show()

    @contextmanager
    def used(self) -> Iterator[None]:
        """A request has begun with this detector, and ends with it when the block does."""
        self._users += 1
        self._unused.clear()
        try:
            yield
        finally:
            self._users -= 1
            if not self._users:
                self._unused.set()

    async def retire(self) -> None:
        """Waits for the requests that have begun with it, then lets go of the threads."""
        await self._unused.wait()
        await self.stop()

    async def warm_up(self) -> None:
        """Makes it ready. Raises WrongAnswers where the golden photographs are answered otherwise than at export."""
        await self.inference.warm_up(self._check)

    async def verdicts(self) -> list[Verdict]:
        """How the golden photographs fare, decoded and run as the images of a request are."""
        frame = partial(self._decoding.frame, deadline=inf)
        return await verdicts(self.manifest, frame, self._run_golden)

    async def stop(self) -> None:
        """Drains, and lets go of the threads."""
        self.readiness.drain()
        await self.inference.stop()
        await self._decoding.stop()

    def look(self, deadline: float, lane: Lane = "interactive") -> None:
        """Raises Unavailable when not ready, Overloaded when full or late: before a body is read in vain."""
        closed = self.readiness.closed
        if closed is not None:
            raise closed
        self.admission.look(self._left_s(deadline), lane)

    def _left_s(self, deadline: float) -> float:
        return deadline - asyncio.get_running_loop().time()

    def deadline(self, timeout_s: float | None) -> float:
        """The event loop's time at which a request that begins now must have been answered.

        A client may ask for less than the server's own limit, not for more: it holds a place until then.
        """
        most_s = self._settings.timeout_s
        left_s = most_s if timeout_s is None else min(timeout_s, most_s)
        return asyncio.get_running_loop().time() + left_s

    async def detect(self, images: Sequence[SentImage], work: Work) -> list[Found | ServiceError]:
        """For every image, in order, what was found in it or why nothing could be.

        Raises:
            Overloaded: the images do not fit, or would be late.
        """
        costs = [cost for image in images for cost in self._costs(image, work.tiles)]
        with self.admission.admit(costs, self._left_s(work.deadline), work.lane) as permit:
            # A group: if one fails unexpectedly, none goes on without its permit.
            async with asyncio.TaskGroup() as group:
                answers = [group.create_task(self._answer(each, work, permit)) for each in images]
        return [answer.result() for answer in answers]

    async def picture(
        self, image: SentImage, found: Detected, picture_type: PictureType, deadline: float
    ) -> bytes:
        """The image, in which `found` was found, with its detections drawn on it. Raises as `Drawer.picture`."""
        assert isinstance(image.content, bytes)
        marks = [
            Mark(
                each.box, f"{each.label} {each.score:.2f}", self.manifest.classes.index(each.label)
            )
            for each in found.detections
        ]
        return await self._drawer.picture(image.content, marks, picture_type, deadline)

    async def _answer(self, image: SentImage, work: Work, permit: Permit) -> Found | ServiceError:
        try:
            found = await self._find(image, work, permit)
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

    async def _find(self, image: SentImage, work: Work, permit: Permit) -> Found:
        shots, decode_s = await self._decoded(image, work, permit)
        frame = shots[0].frame
        regions = in_frame(image.regions, frame)
        answers = await self._inferred(shots, regions, work)
        inferred, answer = perf_counter(), answers[0]
        outputs = [(shot, each.result) for shot, each in zip(shots, answers, strict=True)]
        self._observe_stages(decode_s, answer)
        self.metrics.observe_outputs(answer.result, frame.original, self.manifest)
        return Found(
            detected=detected_in(outputs, self.manifest, work.wanted, len(image.regions)),
            decode_s=decode_s,
            queue_s=max(each.queue_s for each in answers),
            inference_s=max(each.run_s for each in answers),
            inferred=inferred,
            batch_number=answer.batch_number,
            batch_size=answer.batch_size,
            bucket=frame.bucket,
            layout=answer.layout,
        )

    async def _inferred(
        self, shots: Sequence[Shot], regions: Regions, work: Work
    ) -> list[Answer[Outputs]]:
        """The outputs of each frame; they share batches with those of others. If one fails, none goes on."""
        framed = [Framed(each.frame, NO_REGIONS if each.window else regions) for each in shots]
        running = [
            asyncio.ensure_future(self.inference.outputs(each, work.deadline, work.lane))
            for each in framed
        ]
        try:
            return await asyncio.gather(*running)
        finally:
            for each in running:
                each.cancel()

    async def _decoded(
        self, image: SentImage, work: Work, permit: Permit
    ) -> tuple[list[Shot], float]:
        """The frames of `image`, the whole first, and the seconds that they took."""
        if isinstance(image.content, InvalidImage):
            raise image.content
        began, (cost, *_), inside = perf_counter(), self._costs(image), self.admission.cost
        try:
            shots = await self._decoding.shots(image.content, work.deadline, work.tiles)
        finally:
            permit.decoded(cost)
        decode_s = perf_counter() - began
        # It waited for what was inside before it: all of that has been decoded in the time.
        self._decoding_pace.note(None, decode_s, max(1, inside))
        return shots, decode_s

    def _costs(self, image: SentImage, tiles: Tiles = "off") -> list[int]:
        """Of decoding, for each place that an image takes; 0 for what is refused before anything is decoded."""
        if isinstance(image.content, InvalidImage):
            return [0]
        costs = costs_of(image.content, self._settings.max_pixels, self.manifest.resize, tiles)
        if len(costs) > self._settings.queue_images:
            raise TooLarge(
                f"tiles: the image takes {len(costs)} places, and there are {self._settings.queue_images}",
                reason="images",
            )
        return costs

    def _rates(self) -> Rates:
        return Rates(self._decoding_pace.mean_item_s, self.inference.image_s)

    async def _check(self) -> None:
        given = await self.verdicts()
        refuse_wrong(given)
        if given:
            log.info("the %d golden photographs are answered as at export", len(given))
        else:
            log.info("the model has no golden photographs: its answers are not checked")

    async def _run_golden(self, frame: Frame) -> dict[str, Outputs]:
        return await self.inference.outputs_of_all(Framed(frame, NO_REGIONS))

    def _observe_stages(self, decode_s: float, answer: Answer[Outputs]) -> None:
        self.metrics.stage_seconds.labels("decode").observe(decode_s)
        self.metrics.stage_seconds.labels("queue").observe(answer.queue_s)
        counts = answer.result.proposal_counts
        for level, count in zip(self.manifest.levels, counts, strict=True):
            self.metrics.proposals.labels(level.name).observe(count)
