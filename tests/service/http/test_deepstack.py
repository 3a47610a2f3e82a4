"""DeepStack's route, asked as its clients ask: Frigate's detector, Home Assistant's component, Blue Iris."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.app import create_app
from service.keys import new_key
from tests.service.conftest import running, small_settings
from tests.service.images import png

pytestmark = pytest.mark.anyio

ROUTE = "/v1/vision/detection"
PHOTOGRAPH = png(30, 45, (255, 200, 0))
BIRD = {"label": "bird", "confidence": 1.0, "x_min": 11, "y_min": 15, "x_max": 34, "y_max": 30}
CAT = {"label": "cat", "confidence": 0.5, "x_min": 0, "y_min": 0, "x_max": 45, "y_max": 30}


@pytest.fixture
async def deepstack(tiny_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    async with running(create_app(small_settings(tiny_path, deepstack=True))) as client:
        yield client


async def asked(client: httpx.AsyncClient, image: bytes = PHOTOGRAPH, **fields: str) -> Any:
    answer = await client.post(ROUTE, files={"image": image}, data=fields)
    body = answer.json()
    assert body["code"] == answer.status_code
    assert body["success"] == (answer.status_code == 200)
    return body


async def test_it_is_there_only_where_it_is_asked_for(client: httpx.AsyncClient) -> None:
    assert (await client.post(ROUTE, files={"image": PHOTOGRAPH})).status_code == 404


async def test_frigate_finds_predictions_in_whole_pixels(deepstack: httpx.AsyncClient) -> None:
    # frigate/detectors/plugins/deepstack.py sends a JPEG as image, and an api_key that may be empty.
    body = await asked(deepstack, api_key="")
    assert body["predictions"] == [BIRD, CAT]
    assert body["count"] == 2
    assert body["message"] == "Found bird, cat"
    assert body["inferenceMs"] <= body["processMs"]


async def test_home_assistant_names_the_least_confidence(deepstack: httpx.AsyncClient) -> None:
    assert (await asked(deepstack, min_confidence="0.6"))["predictions"] == [BIRD]
    nothing = await asked(deepstack, png(8, 9, (0, 0, 0)), min_confidence="0.6")
    assert (nothing["predictions"], nothing["message"]) == ([], "No objects found")


@pytest.mark.parametrize(
    ("image", "fields", "code", "said"),
    [
        (b"junk", {}, 400, "expected an image"),
        (PHOTOGRAPH, {"min_confidence": "high"}, 422, "min_confidence: expected a number"),
        (PHOTOGRAPH, {"min_confidence": "nan"}, 422, "min_confidence: expected a number"),
    ],
)
async def test_what_cannot_be_answered_is_said_in_their_way(
    deepstack: httpx.AsyncClient, image: bytes, fields: dict[str, str], code: int, said: str
) -> None:
    body = await asked(deepstack, image, **fields)
    assert body["code"] == code
    assert body["error"].startswith(said)


@pytest.mark.parametrize(
    "sending",
    [
        {"files": {"images": PHOTOGRAPH}},
        {"content": PHOTOGRAPH, "headers": {"content-type": "image/png"}},
        {"files": [("image", PHOTOGRAPH), *(("x", b"") for _ in range(200))]},
    ],
)
async def test_another_body_is_refused(
    deepstack: httpx.AsyncClient, sending: dict[str, Any]
) -> None:
    answer = await deepstack.post(ROUTE, **sending)
    assert answer.status_code in (413, 422)
    assert answer.json()["success"] is False


async def test_a_key_may_be_the_api_key_and_has_its_quota(tiny_path: Path, tmp_path: Path) -> None:
    secret, entry = new_key("cameras")
    (tmp_path / "keys.toml").write_text(entry + "images_per_minute = 2")
    settings = small_settings(tiny_path, deepstack=True, keys=tmp_path / "keys.toml")
    async with running(create_app(settings)) as client:
        assert (await asked(client))["code"] == 401
        assert (await asked(client, api_key="wrong"))["code"] == 401
        assert (await asked(client, api_key=secret))["code"] == 200
        with_header = {"authorization": f"Bearer {secret}"}
        answer = await client.post(ROUTE, files={"image": PHOTOGRAPH}, headers=with_header)
        assert answer.status_code == 200
        refused = await client.post(ROUTE, files={"image": PHOTOGRAPH}, data={"api_key": secret})
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) > 10
        metrics = (await client.get("/metrics")).text
        assert 'fpn_key_requests_total{code="200",key="cameras"} 2.0' in metrics
