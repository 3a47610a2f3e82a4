"""The model that the repository ships, behind a real socket, with real photographs."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import skimage

from tests.places import ROOT
from tests.service.images import png
from tests.service.process import TIME_LIMIT_S, serving

MODEL = ROOT / "deploy" / "models" / "default" / "model.onnx"
PHOTOS = Path(skimage.__file__).parent / "data"
SIZES = {"chelsea.png": (451, 300), "coffee.png": (600, 400), "rocket.jpg": (640, 427)}


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    with serving(FPN_MODEL=str(MODEL), FPN_DEVICE="cpu", FPN_MAX_BATCH="2") as server:
        server.line_with("event=ready")
        url = f"http://127.0.0.1:{server.port()}"
        with httpx.Client(base_url=url, timeout=TIME_LIMIT_S) as client:
            yield client


def detect(client: httpx.Client, *names: str) -> list[dict[str, Any]]:
    files = [("images", (name, (PHOTOS / name).read_bytes())) for name in names]
    answer = client.post("/detect?score_threshold=0.3&proposals=5", files=files)
    assert answer.status_code == 200, answer.text
    images: list[dict[str, Any]] = answer.json()["images"]
    return images


def test_the_readmes_request_finds_the_cat_and_the_proposals_that_it_shows(
    client: httpx.Client,
) -> None:
    photograph = (ROOT / "docs" / "cat.jpg").read_bytes()
    answer = client.post("/detect", files={"images": ("cat.jpg", photograph)}).json()
    (image,) = answer["images"]
    best = image["detections"][0]
    assert best["label"] == "cat"
    assert best["score"] > 0.5
    found = [(level, bool(proposals)) for level, proposals in image["proposals"].items()]
    assert found == [("P2", False), ("P3", True), ("P4", True), ("P5", True), ("P6", True)]


def test_the_answer_that_the_readme_prints_is_the_one_that_comes(client: httpx.Client) -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    block = text.partition("answers, line breaks added:\n\n")[2].partition("\n\n")[0]
    shown = json.loads(block)
    photograph = (ROOT / "docs" / "cat.jpg").read_bytes()
    files = {"images": ("cat.jpg", photograph)}
    came = client.post("/detect?proposals=1", files=files).json()
    assert (came["model"], came["batch"]) == (shown["model"], shown["batch"])
    assert came["timings_s"].keys() == shown["timings_s"].keys()
    (here,), (there,) = came["images"], shown["images"]
    assert (here["width"], here["height"]) == (there["width"], there["height"])
    found = zip(_found(here), _found(there), strict=True)
    for (name, one), (expected_name, other) in found:
        assert name == expected_name
        assert one.pop("score") == pytest.approx(other.pop("score"), abs=1e-3)
        assert one.pop("box") == pytest.approx(other.pop("box"), abs=0.5)
        assert one == other


def _found(image: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """The detections, and the proposals with their level."""
    proposals = [(level, each) for level, found in image["proposals"].items() for each in found]
    return [*(("", each) for each in image["detections"]), *proposals]


def test_one_pixel_is_answered(client: httpx.Client) -> None:
    answer = client.post("/detect", files={"images": png(1, 1)})
    assert answer.status_code == 200
    assert client.get("/livez").status_code == 200


@pytest.fixture(scope="module")
def together(client: httpx.Client) -> dict[str, dict[str, Any]]:
    return dict(zip(SIZES, detect(client, *SIZES), strict=True))


@pytest.mark.parametrize("name", SIZES)
def test_boxes_lie_in_the_photograph_and_scores_descend(
    together: dict[str, dict[str, Any]], name: str
) -> None:
    image = together[name]
    width, height = SIZES[name]
    assert (image["width"], image["height"]) == (width, height)
    assert set(image["proposals"]) == {"P2", "P3", "P4", "P5", "P6"}
    for found in (image["detections"], *image["proposals"].values()):
        scores = [each["score"] for each in found]
        assert scores == sorted(scores, reverse=True)
        for x1, y1, x2, y2 in (each["box"] for each in found):
            assert 0 <= x1 <= x2 <= width
            assert 0 <= y1 <= y2 <= height


@pytest.mark.parametrize("name", SIZES)
def test_an_image_has_the_same_detections_alone_as_in_company(
    client: httpx.Client, together: dict[str, dict[str, Any]], name: str
) -> None:
    (alone,) = detect(client, name)
    company = together[name]
    assert alone["detections"] or name == "rocket.jpg"
    assert [each["label"] for each in alone["detections"]] == [
        each["label"] for each in company["detections"]
    ]
    for one, other in zip(alone["detections"], company["detections"], strict=True):
        assert one["score"] == pytest.approx(other["score"], abs=1e-3)
        assert one["box"] == pytest.approx(other["box"], abs=0.05)
