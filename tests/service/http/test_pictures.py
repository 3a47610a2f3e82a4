"""The photograph with its detections, for who prefers a picture to JSON."""

import io

import httpx
import numpy as np
import pytest
from PIL import Image

from service.pictures.drawing import class_colour
from tests.service.exchange import parts, problem_of
from tests.service.images import png

pytestmark = pytest.mark.anyio

# The tiny model finds a bird, its class 2, in the box (11.25, 15, 33.75, 30) * 4 of this.
PHOTOGRAPH = png(120, 180, (255, 200, 0))
# What Chromium sends with a form.
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8"


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("image/jpeg", "image/jpeg"),
        ("image/png", "image/png"),
        ("image/webp", "image/webp"),
        ("image/*", "image/jpeg"),
        ("image/png;q=0.5, application/json;q=0.4", "image/png"),
        ("IMAGE/PNG", "image/png"),
        (BROWSER, "image/webp"),
        ("*/*", "application/json"),
        ("", "application/json"),
        ("application/json, image/png", "application/json"),
        ("image/png;q=0.4, */*;q=0.5", "application/json"),
        ("image/png;q=nan", "application/json"),
        ("image/tiff", "application/json"),
    ],
)
async def test_the_kind_that_is_preferred_is_sent(
    client: httpx.AsyncClient, accept: str, kind: str
) -> None:
    answer = await client.post("/detect", files=parts(PHOTOGRAPH), headers={"accept": accept})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == kind


async def test_the_picture_shows_what_the_query_chooses(client: httpx.AsyncClient) -> None:
    for query, is_drawn in (("classes=bird", True), ("classes=dog", False)):
        headers = {"accept": "image/png"}
        answer = await client.post(f"/detect?{query}", files=parts(PHOTOGRAPH), headers=headers)
        pixels = np.asarray(Image.open(io.BytesIO(answer.content)))
        assert pixels.shape == (120, 180, 3)
        assert (pixels[60:, 44:47] == class_colour(2)).all(-1).any() == is_drawn
        stages = [each.partition(";")[0] for each in answer.headers["server-timing"].split(", ")]
        assert stages == ["decode", "queue", "inference", "total", "draw"]


async def test_a_picture_of_several_images_is_refused(client: httpx.AsyncClient) -> None:
    files = parts(PHOTOGRAPH, PHOTOGRAPH)
    answer = await client.post("/detect", files=files, headers={"accept": "image/png"})
    assert answer.status_code == 422
    assert "drawn of one image, got 2" in problem_of(answer)["detail"]


async def test_a_problem_stays_a_problem(client: httpx.AsyncClient) -> None:
    answer = await client.post("/detect", files=parts(b"junk"), headers={"accept": "image/png"})
    assert answer.status_code == 400
    assert problem_of(answer)["type"] == "/problems/invalid-image"
