"""A second model: it sees what the first has answered, and nobody waits for it."""

from pathlib import Path

import httpx
import pytest

from service.app import create_app
from service.detections import Detection, ProposalPlace
from service.errors import InvalidSettings
from service.shadow import comparison
from tests.service.conftest import running, small_settings
from tests.service.exchange import parts
from tests.service.fakes import until
from tests.service.golden_files import with_manifest
from tests.service.images import png
from tests.service.test_swap import with_other_boxes

pytestmark = pytest.mark.anyio

PHOTOGRAPH = png(30, 45, (255, 200, 0))


def found(label: str, score: float, *box: float) -> Detection:
    x1, y1, x2, y2 = box
    return Detection(label, 1, score, (x1, y1, x2, y2), "P3", ProposalPlace("P3", 0))


def test_detections_of_a_class_that_overlap_are_the_same_and_each_counts_once() -> None:
    served = [found("cat", 0.9, 0, 0, 10, 10), found("cat", 0.8, 1, 0, 11, 10)]
    shadow = [found("cat", 0.7, 0, 0, 10, 10), found("dog", 0.6, 1, 0, 11, 10)]
    compared = comparison(served, shadow)
    assert (compared.both, compared.served_only, compared.shadow_only) == (
        *(("cat",), ("cat",)),
        ("dog",),
    )
    assert compared.score_differences == pytest.approx((0.2,))
    nothing = comparison([], [])
    assert nothing.both == nothing.served_only == nothing.shadow_only == ()


async def lines(client: httpx.AsyncClient) -> list[str]:
    text = (await client.get("/metrics")).text
    return [line for line in text.splitlines() if line.startswith("fpn_shadow")]


async def test_its_disagreement_is_counted_and_its_detections_are_not(
    tiny_path: Path, tmp_path: Path
) -> None:
    other = with_other_boxes(tiny_path, tmp_path / "other.onnx")
    app = create_app(small_settings(tiny_path, shadow=other, shadow_share=0.5))
    async with running(app) as client:
        await until(lambda: app.state.shadow.is_ready)
        for number in range(4):
            answer = await client.post("/detect", files=parts(PHOTOGRAPH))
            assert answer.json()["images"][0]["detections"][0]["box"] == [11.25, 15.0, 33.75, 30.0]
            await until(lambda: not app.state.shadow.is_busy)
            shown = await lines(client)
            # Every second one is its.
            line = f'fpn_shadow_images_total{{outcome="compared"}} {(number + 1) // 2}.0'
            assert (line in shown) == (number > 0)
        # Of both there is the cat in all of the image; the bird is elsewhere.
        for line in (
            'fpn_shadow_detections_total{found_by="both",label="cat"} 2.0',
            'fpn_shadow_detections_total{found_by="served",label="bird"} 2.0',
            'fpn_shadow_detections_total{found_by="shadow",label="bird"} 2.0',
            "fpn_shadow_score_difference_count 2.0",
        ):
            assert line in shown
        total = 'fpn_detections_total{label="bird"} 4.0'
        assert total in (await client.get("/metrics")).text


async def test_a_bad_image_is_compared_with_nothing_and_the_first_model_answers_on(
    tiny_path: Path,
) -> None:
    app = create_app(small_settings(tiny_path, shadow=tiny_path, shadow_share=1))
    async with running(app) as client:
        await until(lambda: app.state.shadow.is_ready)
        answer = await client.post("/detect", files=parts(b"junk", PHOTOGRAPH))
        assert answer.status_code == 200
        await until(lambda: not app.state.shadow.is_busy)
        shown = await lines(client)
        assert 'fpn_shadow_images_total{outcome="compared"} 1.0' in shown
        assert not any('found_by="served"' in line for line in shown)


async def test_a_second_model_of_other_classes_stops_the_start(
    tiny_path: Path, tmp_path: Path
) -> None:
    other = with_manifest(tiny_path, tmp_path / "other.onnx", classes=["fox", "hen", "owl"])
    with pytest.raises(InvalidSettings, match="FPN_SHADOW: expected a model of FPN_MODEL"):
        create_app(small_settings(tiny_path, shadow=other))
