"""A second model beside the one that serves: it sees a share of the requests, after their answers are out.

Nobody waits for it: it has a thread of its own and one request at a time, and what comes meanwhile is passed over. What
the two say of an image is compared class by class, with the thresholds that the caller asked for: detections of both
that overlap by at least half are the same, with scores so far apart; others only one of them has.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import inf

from service.artifact.manifest import Manifest
from service.detections import Box, Detected, Detection
from service.detector import Detector, Found, SentImage, Work
from service.engine.engine import Engine, EngineOptions
from service.errors import InvalidSettings, ServiceError
from service.metrics import Metrics
from service.settings import Settings

log = logging.getLogger(__name__)

LEAST_IOU = 0.5


@dataclass(frozen=True)
class Comparison:
    """What two models say of one image: classes of detections of both, and of one alone; how far scores are apart."""

    both: tuple[str, ...]
    served_only: tuple[str, ...]
    shadow_only: tuple[str, ...]
    score_differences: tuple[float, ...]


class Shadow:
    """The second model. Must be made inside a running event loop."""

    def __init__(self, engine: Engine, settings: Settings, metrics: Metrics) -> None:
        """Sees `settings.shadow_share` of the requests; what it finds is counted in `metrics` as the shadow's."""
        own = settings.model_copy(
            update={"runners": 1, "max_batch": 1, "decode_workers": 1, "drift_images": 0}
        )
        # Its own detections are no answers, and not counted as such.
        self._detector = Detector(engine, own, Metrics())
        self._share = settings.shadow_share
        self._metrics = metrics
        self._due = 0.0
        self._task: asyncio.Task[None] | None = None
        metrics.shadow_info.labels(engine.manifest.name, engine.manifest.version).set(1)

    @property
    def is_ready(self) -> bool:
        """Whether it would compare what came now."""
        return self._detector.readiness.closed is None

    @property
    def is_busy(self) -> bool:
        """Whether it compares something."""
        return self._task is not None and not self._task.done()

    async def warm_up(self) -> None:
        """Makes it ready, unless its golden photographs are answered otherwise than at export."""
        try:
            await self._detector.warm_up()
        # It is not asked then, and nobody else is the worse for it.
        except Exception:
            log.exception("the second model does not warm up")

    async def see(
        self,
        images: Sequence[SentImage],
        found: Sequence[Found | ServiceError],
        asked: Work,
        served: Manifest,
    ) -> None:
        """Begins to compare what the model of `served` has `found` in `images`, if it is their turn.

        After a swap the classes may be others: then there is nothing to compare.
        """
        self._due += self._share
        if self._due < 1 or not self.is_ready:
            return
        self._due -= 1
        if self.is_busy or served.classes != self._detector.manifest.classes:
            self._metrics.shadow_images.labels("passed_over").inc(len(images))
            return
        pairs = [
            (image, outcome.detected)
            for image, outcome in zip(images, found, strict=True)
            if isinstance(outcome, Found)
        ]
        self._task = asyncio.create_task(self._compare(pairs, asked), name="shadow")

    async def stop(self) -> None:
        """Gives up what is compared, and lets go of the threads."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        await self._detector.stop()

    async def _compare(self, pairs: Sequence[tuple[SentImage, Detected]], asked: Work) -> None:
        for image, served in pairs:
            work = replace(asked, deadline=inf, lane="bulk")
            try:
                (outcome,) = await self._detector.detect([SentImage(image.content)], work)
            except ServiceError as error:
                outcome = error
            if isinstance(outcome, ServiceError):
                self._metrics.shadow_images.labels("failed").inc()
            else:
                self._count(comparison(served.detections, outcome.detected.detections))

    def _count(self, compared: Comparison) -> None:
        metrics = self._metrics
        metrics.shadow_images.labels("compared").inc()
        for found_by, labels in (
            ("both", compared.both),
            ("served", compared.served_only),
            ("shadow", compared.shadow_only),
        ):
            for label in labels:
                metrics.shadow_detections.labels(found_by, label).inc()
        for difference in compared.score_differences:
            metrics.shadow_score_difference.observe(difference)


def comparison(served: Sequence[Detection], shadow: Sequence[Detection]) -> Comparison:
    """How the detections of one image compare; of those that overlap, the pairs that overlap most come first."""
    pairs = [
        (iou(one.box, other.box), i, j)
        for (i, one), (j, other) in product(enumerate(served), enumerate(shadow))
        if one.label == other.label
    ]
    matches: dict[int, int] = {}
    for overlap, i, j in sorted(pairs, key=lambda each: -each[0]):
        if overlap >= LEAST_IOU and i not in matches and j not in matches.values():
            matches[i] = j
    return Comparison(
        both=tuple(served[i].label for i in matches),
        served_only=tuple(e.label for i, e in enumerate(served) if i not in matches),
        shadow_only=tuple(e.label for j, e in enumerate(shadow) if j not in matches.values()),
        score_differences=tuple(abs(served[i].score - shadow[j].score) for i, j in matches.items()),
    )


def iou(one: Box, other: Box) -> float:
    """Intersection over union; 0 where neither has an area."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(0.0, width) * max(0.0, height)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    union = sum(areas) - shared
    return shared / union if union > 0 else 0.0


def shadow_engine(settings: Settings, served: Manifest) -> Engine | None:
    """The second model of the settings, loaded for one thread; None where there is none.

    Raises:
        InvalidModel: it cannot be served.
        InvalidSettings: its classes are others than those of `served`, the first model's manifest.
    """
    if settings.shadow is None:
        return None
    engine = Engine(settings.shadow, settings.device, 1, EngineOptions(runners=1))
    if engine.manifest.classes != served.classes:
        raise InvalidSettings(
            f"FPN_SHADOW: expected a model of FPN_MODEL's classes, to compare the two; {settings.shadow} has others"
        )
    return engine
