"""The formats of labelling tools, read back by their own rules."""

import contextlib
import io

import httpx
import numpy as np
import pytest
from pycocotools.coco import COCO

from tests.service.exchange import parts, problem_of
from tests.service.images import png

pytestmark = pytest.mark.anyio

# The tiny model finds a bird, class 2 with the id 16, in (11.25, 15, 33.75, 30), and a cat, 0 and 17, in all of it.
PHOTOGRAPH = png(30, 45, (255, 200, 0))


async def body_of(client: httpx.AsyncClient, kind: str, *images: bytes) -> httpx.Response:
    answer = await client.post(f"/detect?format={kind}", files=parts(*images))
    assert answer.status_code == 200, answer.text
    return answer


async def test_coco_results_have_the_ids_of_the_data_set_and_sizes(
    client: httpx.AsyncClient,
) -> None:
    results = (await body_of(client, "coco", png(8, 9, (0, 0, 0)), PHOTOGRAPH)).json()
    assert results == [
        {"image_id": 1, "category_id": 16, "bbox": [11.25, 15.0, 22.5, 15.0], "score": 1.0},
        {"image_id": 1, "category_id": 17, "bbox": [0.0, 0.0, 45.0, 30.0], "score": 0.5},
    ]


async def test_pycocotools_takes_coco_results(client: httpx.AsyncClient) -> None:
    results = (await body_of(client, "coco", PHOTOGRAPH)).json()
    truth = COCO()
    truth.dataset = {
        "images": [{"id": 0, "width": 45, "height": 30}],
        "categories": [{"id": 16, "name": "bird"}, {"id": 17, "name": "cat"}],
        "annotations": [],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        taken = truth.loadRes(results)
    assert [each["area"] for each in taken.loadAnns(taken.getAnnIds(catIds=[16]))] == [22.5 * 15]


async def test_yolo_lines_give_back_the_boxes(client: httpx.AsyncClient) -> None:
    answer = await body_of(client, "yolo", PHOTOGRAPH)
    assert answer.headers["content-type"].startswith("text/plain")
    rows = np.array([[float(each) for each in line.split()] for line in answer.text.splitlines()])
    assert rows[:, 0].tolist() == [2, 0]
    assert rows[:, 5].tolist() == [1.0, 0.5]
    centres, extents = rows[:, 1:3] * (45, 30), rows[:, 3:5] * (45, 30)
    boxes = np.hstack((centres - extents / 2, centres + extents / 2))
    assert boxes == pytest.approx(np.array([[11.25, 15, 33.75, 30], [0, 0, 45, 30]]), abs=1e-3)


async def test_label_studio_predictions_are_in_percent_of_the_photograph(
    client: httpx.AsyncClient,
) -> None:
    predictions = (await body_of(client, "labelstudio", PHOTOGRAPH, png(8, 9, (0, 0, 0)))).json()
    assert [each["score"] for each in predictions] == [1.0, 0.0]
    assert predictions[0]["model_version"] == "tiny 0123456789ab"
    first, second = predictions[0]["result"]
    assert first["value"] == {
        "x": 25.0,
        "y": 50.0,
        "width": 50.0,
        "height": 50.0,
        "rotation": 0,
        "rectanglelabels": ["bird"],
    }
    assert (first["original_width"], first["original_height"]) == (45, 30)
    assert second["value"]["rectanglelabels"] == ["cat"]


@pytest.mark.parametrize("kind", ["coco", "yolo", "labelstudio"])
async def test_one_that_finds_nothing_is_no_error(client: httpx.AsyncClient, kind: str) -> None:
    answer = await body_of(client, kind, png(8, 9, (0, 0, 0)))
    assert answer.text.strip() in ("[]", "") or answer.json()[0]["result"] == []


async def test_a_text_for_yolo_is_of_one_image(client: httpx.AsyncClient) -> None:
    answer = await client.post("/detect?format=yolo", files=parts(PHOTOGRAPH, PHOTOGRAPH))
    assert answer.status_code == 422
    assert "a text is of one image, got 2" in problem_of(answer)["detail"]


@pytest.mark.parametrize("kind", ["coco", "labelstudio"])
async def test_a_bad_image_among_others_fails_what_has_no_place_for_it(
    client: httpx.AsyncClient, kind: str
) -> None:
    answer = await client.post(f"/detect?format={kind}", files=parts(PHOTOGRAPH, b"junk"))
    assert answer.status_code == 400
    assert problem_of(answer)["type"] == "/problems/invalid-image"


async def test_an_unknown_format_is_named(client: httpx.AsyncClient) -> None:
    answer = await client.post("/detect?format=voc", files=parts(PHOTOGRAPH))
    assert answer.status_code == 422
    assert "query.format" in problem_of(answer)["detail"]
