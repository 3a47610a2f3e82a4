import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from service.artifact.tensors import Outputs
from service.detections import Wanted
from service.detector import Detector, Found, Work
from service.engine.engine import Engine, EngineOptions
from service.engine.layouts import Layout
from service.errors import (
    DeadlineExceeded,
    InferenceFailed,
    InvalidImage,
    Overloaded,
    ServiceError,
    TooLarge,
    Unavailable,
    WrongAnswers,
)
from service.metrics import Metrics
from service.pictures.framing import Size
from tests.service.conftest import small_settings
from tests.service.fakes import GatedModel, until
from tests.service.golden_files import with_golden
from tests.service.images import encoded, plain, png, sent

pytestmark = pytest.mark.anyio

WANTED = Wanted((0.0,) * 3, None, None, 0, ())
POISON = (255, 0, 13)
RED = encoded(plain(60, 90, (250, 200, 0)), "JPEG")


@asynccontextmanager
async def detecting(
    path: Path, warm: bool = True, **changes: Any
) -> AsyncIterator[tuple[Detector, GatedModel]]:
    settings = small_settings(path, **changes)
    model = GatedModel(Engine(path, "cpu", 1))
    detector = Detector(model, settings, Metrics())
    detector.show()
    if warm:
        await detector.warm_up()
        model.sizes.clear()
    try:
        yield detector, model
    finally:
        model.open()
        await detector.stop()
        assert detector.inference.stopped


def outcome_types(outcomes: list[Found | ServiceError]) -> list[type]:
    return [type(outcome) for outcome in outcomes]


def is_well(detector: Detector) -> bool:
    readiness = detector.readiness
    assert (readiness.fault is None) == (readiness.not_ready is None)
    return readiness.fault is None


def count(metrics: Metrics, outcome: str) -> float:
    return metrics.registry.get_sample_value("fpn_images_total", {"outcome": outcome}) or 0.0


async def test_every_image_is_answered_in_its_place(tiny_path: Path) -> None:
    async with detecting(tiny_path) as (detector, _):
        bad = InvalidImage("not base64")
        images = sent(png(30, 40), b"junk", png(50, 20), bad, png(9, 9))
        outcomes = await detector.detect(images, Work(WANTED, inf))
    assert outcome_types(outcomes) == [Found, InvalidImage, Found, InvalidImage, Found]
    sizes = [(o.detected.height, o.detected.width) for o in outcomes if isinstance(o, Found)]
    assert sizes == [(30, 40), (50, 20), (9, 9)]


async def test_images_of_one_bucket_share_a_batch_with_those_of_others(tiny_path: Path) -> None:
    async with detecting(tiny_path) as (detector, model):
        model.hold = True
        first = asyncio.create_task(detector.detect(sent(png(30, 40)), Work(WANTED, inf)))
        await model.begun()
        wide = asyncio.create_task(
            detector.detect(sent(png(30, 50), png(50, 30)), Work(WANTED, inf))
        )
        more = asyncio.create_task(detector.detect(sent(png(30, 45)), Work(WANTED, inf)))
        await until(lambda: detector.inference.waiting == 3)
        model.open()
        await asyncio.gather(first, wide, more)
    assert model.sizes == [1, 2, 1]


async def test_a_image_that_breaks_the_model_fails_alone(tiny_path: Path) -> None:
    async with detecting(tiny_path) as (detector, model):
        model.hold = True
        first = asyncio.create_task(detector.detect(sent(png(30, 40)), Work(WANTED, inf)))
        await model.begun()
        images = sent(png(30, 40), png(30, 40, POISON), png(30, 40))
        task = asyncio.create_task(detector.detect(images, Work(WANTED, inf)))
        await until(lambda: detector.inference.waiting == 3)
        model.open()
        assert outcome_types(await task) == [Found, InferenceFailed, Found]
        await first
        assert detector.readiness.fault is None
    assert model.sizes[:2] == [1, 3]


async def test_a_model_that_breaks_is_a_fault_until_it_has_healed(tiny_path: Path) -> None:
    async with detecting(tiny_path) as (detector, model):
        model.is_broken = True
        assert outcome_types(await detector.detect(sent(png(8, 9)), Work(WANTED, inf))) == [
            InferenceFailed
        ]
        assert not is_well(detector)
        model.is_broken = False
        detector.look(inf)
        assert outcome_types(await detector.detect(sent(png(8, 9)), Work(WANTED, inf))) == [Found]
        assert is_well(detector)


async def test_warming_up_runs_every_bucket_and_then_it_is_ready(
    tiny_path: Path,
) -> None:
    async with detecting(tiny_path, warm=False) as (detector, model):
        assert isinstance(detector.readiness.not_ready, Unavailable)
        with pytest.raises(Unavailable, match="warming up: 0 of 4 shapes"):
            detector.look(inf)
        await detector.warm_up()
        assert detector.readiness.not_ready is None
        assert detector.readiness.warmed_sizes() == dict.fromkeys(detector.manifest.buckets, [1])
    assert model.sizes == [1] * 4


async def test_draining_takes_no_more(tiny_path: Path) -> None:
    async with detecting(tiny_path) as (detector, _):
        detector.readiness.drain()
        with pytest.raises(Unavailable) as caught:
            detector.look(inf)
        assert caught.value.reason == "draining"
        assert detector.readiness.fault is None


async def test_more_images_than_fit_are_refused(tiny_path: Path) -> None:
    async with detecting(tiny_path, queue_images=2, max_images=2) as (detector, model):
        model.hold = True
        inside = asyncio.create_task(detector.detect(sent(png(8, 9)), Work(WANTED, inf)))
        await model.begun()
        with pytest.raises(Overloaded, match="1 of at most 2 images are inside; no room for 2"):
            await detector.detect(sent(png(8, 9), png(8, 9)), Work(WANTED, inf))
        detector.look(inf)
        model.open()
        await inside


async def test_a_full_detector_says_so_before_a_body_is_read(tiny_path: Path) -> None:
    async with detecting(tiny_path, queue_images=1, max_images=1) as (detector, model):
        model.hold = True
        inside = asyncio.create_task(detector.detect(sent(png(8, 9)), Work(WANTED, inf)))
        await model.begun()
        with pytest.raises(Overloaded):
            detector.look(inf)
        model.open()
        await inside


async def test_the_deadline_counts_while_a_image_waits_to_be_decoded(tiny_path: Path) -> None:
    async with detecting(tiny_path) as (detector, model):
        past = asyncio.get_running_loop().time()
        assert outcome_types(await detector.detect(sent(png(8, 9)), Work(WANTED, past))) == [
            DeadlineExceeded
        ]
    assert model.sizes == []


async def test_the_pixel_limit_holds_for_each_image(tiny_path: Path) -> None:
    async with detecting(tiny_path, max_pixels=100) as (detector, _):
        outcomes = await detector.detect(sent(png(10, 10), png(10, 11)), Work(WANTED, inf))
    assert outcome_types(outcomes) == [Found, TooLarge]


async def test_a_cancelled_request_never_runs_and_is_counted(tiny_path: Path) -> None:
    async with detecting(tiny_path) as (detector, model):
        model.hold = True
        first = asyncio.create_task(detector.detect(sent(png(30, 40)), Work(WANTED, inf)))
        await model.begun()
        gone = asyncio.create_task(
            detector.detect(sent(png(30, 40), png(30, 40)), Work(WANTED, inf))
        )
        await until(lambda: detector.inference.waiting == 2)
        gone.cancel()
        await asyncio.wait([gone])
        assert detector.inference.waiting == 0
        model.open()
        await first
        assert count(detector.metrics, "cancelled") == 2
    assert model.sizes == [1]


async def test_outcomes_and_stages_are_measured(tiny_path: Path) -> None:
    async with detecting(tiny_path) as (detector, _):
        await detector.detect(sent(png(30, 40), b"junk", png(30, 40, POISON)), Work(WANTED, inf))
        sample = detector.metrics.registry.get_sample_value
        assert count(detector.metrics, "ok") == 1
        assert count(detector.metrics, "invalid_image") == 1
        assert count(detector.metrics, "inference") == 1
        for stage in ("decode", "queue", "inference"):
            assert sample("fpn_stage_seconds_count", {"stage": stage}) == 1
        assert sample("fpn_proposals_sum", {"level": "P3"}) == 2
        # 30 x 40 becomes 32 x 43 in 32 x 64
        assert sample("fpn_batch_padding_ratio_sum") == pytest.approx(1 - 43 / 64)
        assert sample("fpn_ready") == 1


async def test_what_somebody_has_decided_is_not_measured_away(tiny_path: Path) -> None:
    settings = small_settings(tiny_path, threads=2, runners=2, max_batch=3)
    model = GatedModel(Engine(tiny_path, "cpu", 2, EngineOptions(runners=2)))
    detector = Detector(model, settings, Metrics())
    await detector.warm_up()
    assert detector.inference.layouts == (Layout(1, 2, 3), Layout(2, 1, 3))
    await detector.stop()


class WrongNarrow(GatedModel):
    """Runs on one thread find nothing."""

    def run(
        self,
        frames: Sequence[NDArray[np.uint8]],
        sizes: Sequence[Size],
        regions: Sequence[NDArray[np.float32]],
        layout: Layout,
    ) -> Outputs:
        """The engine's outputs, or none."""
        outputs = super().run(frames, sizes, regions, layout)
        return replace(outputs, counts=0 * outputs.counts) if layout.threads == 1 else outputs


async def test_golden_photographs_are_run_on_every_number_of_threads(
    tiny_path: Path, tmp_path: Path
) -> None:
    path = with_golden(tiny_path, tmp_path / "golden.onnx", {"red.jpg": RED})
    model = WrongNarrow(Engine(path, "cpu", 2, EngineOptions(runners=2)))
    detector = Detector(model, small_settings(path, threads=2, runners=2), Metrics())
    try:
        with pytest.raises(WrongAnswers, match=r"is missing \(threads: 1\)"):
            await detector.warm_up()
        assert detector.readiness.not_ready is not None
    finally:
        await detector.stop()
