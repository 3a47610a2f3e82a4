"""`tiles` over HTTP, with the tiny model: every tile of one colour has a detection in its middle."""

from pathlib import Path

import httpx
import pytest

from service.app import create_app
from tests.service.conftest import running, small_settings
from tests.service.exchange import parts, problem_of
from tests.service.images import encoded, plain, png

pytestmark = pytest.mark.anyio

# In two tiles of 114 x 100 that overlap by 28; a process decodes it, since it is no JPEG.
WIDE = png(100, 200, (255, 200, 0))


async def test_detections_of_tiles_lie_in_the_photograph_and_say_which_tile(
    client: httpx.AsyncClient,
) -> None:
    answer = await client.post("/detect?tiles=2&classes=bird", files=parts(WIDE))
    assert answer.status_code == 200, answer.text
    (image,) = answer.json()["images"]
    assert (image["width"], image["height"], image["tiles"]) == (200, 100, 2)
    # A bird is in the middle half of a tile, down to its lower edge; that of the whole is as long as half a tile.
    found = {(each.get("tile"), *each["box"]) for each in image["detections"]}
    assert {(0, 28.75, 50.0, 86.25, 100.0), (1, 113.75, 50.0, 171.25, 100.0)} <= found
    assert list(image["proposals"]) == ["P2", "P3", "P4", "P5", "P6"]


async def test_a_thread_and_a_process_cut_alike(client: httpx.AsyncClient) -> None:
    image = plain(100, 200, (255, 200, 0))
    jpeg = encoded(image, "JPEG", quality=100, subsampling=0)
    answers = [
        (await client.post("/detect?tiles=auto", files=parts(each))).json()["images"][0]
        for each in (jpeg, encoded(image))
    ]
    boxes = [[each["box"] for each in answer["detections"]] for answer in answers]
    assert boxes[0] == boxes[1]
    assert answers[0]["tiles"] == answers[1]["tiles"] > 2


async def test_small_photographs_and_off_have_no_tiles(client: httpx.AsyncClient) -> None:
    for query, image in (("tiles=auto", png(30, 45)), ("tiles=off", WIDE), ("", WIDE)):
        answer = await client.post(f"/detect?{query}", files=parts(image))
        assert "tiles" not in answer.json()["images"][0]


async def test_tiles_of_one_request_run_together(client: httpx.AsyncClient) -> None:
    answer = await client.post("/detect?tiles=4", files=parts(png(100, 100)))
    assert answer.json()["images"][0]["tiles"] == 16
    metrics = (await client.get("/metrics")).text
    (runs,) = (
        float(line.split()[1])
        for line in metrics.splitlines()
        if line.startswith("fpn_batch_images_count")
    )
    assert runs < 17


@pytest.mark.parametrize("value", ["1", "5", "many", "-2"])
async def test_other_numbers_are_refused(client: httpx.AsyncClient, value: str) -> None:
    problem = problem_of(await client.post(f"/detect?tiles={value}", files=parts(WIDE)))
    assert problem["status"] == 422
    assert "expected off, auto or a number from 2 to 4" in problem["detail"]


async def test_more_tiles_than_places_are_too_large(tiny_path: Path) -> None:
    settings = small_settings(tiny_path, queue_images=8, max_images=8)
    async with running(create_app(settings)) as client:
        problem = problem_of(await client.post("/detect?tiles=3", files=parts(png(100, 100))))
        assert (problem["status"], problem["type"]) == (413, "/problems/too-large")
        assert "takes 10 places, and there are 8" in problem["detail"]
        assert (await client.post("/detect?tiles=2", files=parts(WIDE))).status_code == 200
