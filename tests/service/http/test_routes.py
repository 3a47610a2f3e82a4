"""The HTTP interface, with the tiny model behind it: what goes in, what comes out."""

import base64
from pathlib import Path

import httpx
import pytest

from service.app import create_app
from service.settings import Settings
from tests.service.conftest import running, small_settings
from tests.service.exchange import parts, problem_of
from tests.service.golden_files import with_manifest
from tests.service.images import png

pytestmark = pytest.mark.anyio

POISON = (255, 0, 13)

# Of a photograph of 30 x 45, red 255 and green 200.
WHOLE = {"index": 0, "score": 1.0, "box": [0.0, 0.0, 45.0, 30.0]}
PROMISED = {
    "model": {"name": "tiny", "version": "0123456789ab"},
    "images": [
        {
            "width": 45,
            "height": 30,
            "detections": [
                {
                    "label": "bird",
                    "category_id": 16,
                    "score": 1.0,
                    "box": [11.25, 15.0, 33.75, 30.0],
                    "level": "P3",
                    "proposal": {"level": "P3", "index": 1},
                }
            ],
            "proposals": {"P2": [WHOLE], "P3": [WHOLE], "P4": [WHOLE], "P5": [], "P6": [WHOLE]},
        }
    ],
    "batch": {"size": 1, "bucket": [32, 64], "others": []},
}


async def test_the_answer_has_the_shape_that_is_promised(client: httpx.AsyncClient) -> None:
    image = png(30, 45, (255, 200, 0))  # resized to 32 x 48
    answer = await client.post("/detect?proposals=1&score_threshold=0.6", files=parts(image))
    assert answer.status_code == 200
    body = answer.json()
    timings = body.pop("timings_s")
    assert body == PROMISED
    assert set(timings) == {"decode", "queue", "inference", "total"}
    assert timings["total"] >= timings["decode"] + timings["queue"] + timings["inference"]


async def test_all_kinds_of_body_give_the_same_answer(client: httpx.AsyncClient) -> None:
    image = png(30, 45, (200, 100, 0))
    in_base64 = {"images": [{"content": base64.b64encode(image).decode()}]}
    raw = {"content-type": "image/png"}
    octets = {"content-type": "application/octet-stream"}
    answers = [
        await client.post("/detect", files=parts(image)),
        await client.post("/detect", content=image, headers=raw),
        await client.post("/detect", content=image, headers=octets),
        await client.post("/detect", json=in_base64),
    ]
    assert [answer.status_code for answer in answers] == [200] * 4
    first, *others = [answer.json()["images"] for answer in answers]
    assert others == [first] * 3
    assert first[0]["detections"][0]["score"] == 0.7843  # 200 / 255


async def test_a_bad_image_among_others_has_its_problem_in_its_place(
    client: httpx.AsyncClient,
) -> None:
    files = parts(png(8, 9), b"junk", png(30, 40, POISON), png(9, 8))
    answer = await client.post("/detect", files=files)
    assert answer.status_code == 200
    first, junk, poison, last = answer.json()["images"]
    assert (first["width"], last["width"]) == (9, 8)
    assert junk == {"error": junk["error"]}
    assert (junk["error"]["type"], junk["error"]["status"]) == ("/problems/invalid-image", 400)
    assert poison["error"]["type"] == "/problems/inference-failed"


async def test_when_every_image_is_bad_the_request_fails_as_the_first(
    client: httpx.AsyncClient,
) -> None:
    answer = await client.post("/detect", files=parts(b"junk", png(8, 9, POISON)))
    assert answer.status_code == 400
    assert problem_of(answer)["type"] == "/problems/invalid-image"


@pytest.mark.parametrize(
    ("query", "labels"),
    [
        ("score_threshold=0", ["bird", "cat"]),
        ("", ["bird", "cat"]),  # 1.0 and 0.5: the threshold is 0.5
        ("score_threshold=0.51", ["bird"]),
        ("max_detections=1", ["bird"]),
        ("classes=cat", ["cat"]),
        ("classes=cat&classes=bird", ["bird", "cat"]),
        ("classes=dog", []),
    ],
)
async def test_the_query_chooses_detections(
    client: httpx.AsyncClient, query: str, labels: list[str]
) -> None:
    answer = await client.post(f"/detect?{query}", files=parts(png(30, 45, (255, 200, 0))))
    assert [each["label"] for each in answer.json()["images"][0]["detections"]] == labels


@pytest.mark.parametrize(
    ("query", "counts"),
    [
        ("", {"P2": 3, "P3": 2, "P4": 1, "P5": 0, "P6": 3}),
        ("proposals=2", {"P2": 2, "P3": 2, "P4": 1, "P5": 0, "P6": 2}),
        ("proposals=0", {}),
        ("levels=P3&levels=P5", {"P3": 2, "P5": 0}),
    ],
)
async def test_the_query_chooses_proposals(
    client: httpx.AsyncClient, query: str, counts: dict[str, int]
) -> None:
    answer = await client.post(f"/detect?{query}", files=parts(png(30, 45)))
    proposals = answer.json()["images"][0]["proposals"]
    assert {level: len(each) for level, each in proposals.items()} == counts


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("classes=zebra", "classes: no 'zebra'; known are cat, dog, bird"),
        ("levels=P7", "levels: no 'P7'; known are P2, P3, P4, P5, P6"),
        ("score_threshold=1.5", "query.score_threshold: Value error, expected a number from 0"),
        ("score_threshold=nan", "query.score_threshold"),
        ("score_threshold=worst", "query.score_threshold"),
        ("score_threshold=", "query.score_threshold"),
        ("score_threshold=best", "score_threshold: this model says none for best"),
        ("max_detections=0", "query.max_detections"),
        ("proposals=-1", "query.proposals"),
        ("timeout_s=0", "query.timeout_s"),
        ("score_treshold=0.3", "query.score_treshold"),
    ],
)
async def test_a_wrong_parameter_is_named(client: httpx.AsyncClient, query: str, said: str) -> None:
    answer = await client.post(f"/detect?{query}", files=parts(png(8, 9)))
    assert answer.status_code == 422
    assert said in problem_of(answer)["detail"]


async def test_json_of_another_shape_says_where_and_does_not_repeat_it(
    client: httpx.AsyncClient,
) -> None:
    answer = await client.post("/detect", json={"images": [{"contents": "secret"}]})
    problem = problem_of(answer)
    assert problem["errors"] == [{"where": "body.images.0.content", "message": "Field required"}]
    assert "secret" not in answer.text


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [("GET", "/nothing", 404), ("GET", "/detect", 405), ("DELETE", "/model", 405)],
)
async def test_unknown_paths_and_methods_are_problems(
    client: httpx.AsyncClient, method: str, path: str, code: int
) -> None:
    answer = await client.request(method, path)
    assert answer.status_code == code
    assert problem_of(answer)["instance"] == path
    assert ("allow" in answer.headers) == (code == 405)


async def test_limits_are_those_of_the_settings(settings: Settings) -> None:
    small = small_settings(settings.model, max_body_bytes=2000, max_images=2, max_pixels=100)
    async with running(create_app(small)) as client:
        too_long = await client.post("/detect", files=parts(b"x" * 2000))
        too_many = await client.post("/detect", files=parts(*[png(2, 3)] * 3))
        too_big = await client.post("/detect", files=parts(png(10, 11)))
    answers = [too_long, too_many, too_big]
    assert [problem_of(answer)["type"] for answer in answers] == ["/problems/too-large"] * 3


async def test_the_most_regions_of_an_image_are_those_of_the_model(
    tiny_path: Path, tmp_path: Path
) -> None:
    limits = {"max_side": 96, "max_batch": 4, "max_regions": 2}
    model = with_manifest(tiny_path, tmp_path / "model.onnx", limits=limits)
    image = base64.b64encode(png(30, 45)).decode()
    sent = {"images": [{"content": image, "regions": [[0, 0, 9, 9]] * 3}]}
    async with running(create_app(small_settings(model))) as client:
        answer = await client.post("/detect", json=sent)
    assert answer.status_code == 422
    assert "expected at most 2 of an image" in problem_of(answer)["detail"]


async def test_the_best_thresholds_are_the_models_own(tiny_path: Path, tmp_path: Path) -> None:
    point = {"score": 0.45, "precision": 0.9, "recall": 0.5}
    own = {"score": 0.95, "precision": 0.9, "recall": 0.5}
    thresholds = {"every": point, "classes": [own, None, None]}
    model = with_manifest(tiny_path, tmp_path / "model.onnx", thresholds=thresholds)
    files = parts(png(30, 45, (240, 200, 0)))  # a bird of 0.94 and a cat of 0.47
    async with running(create_app(small_settings(model))) as client:
        answers = [
            await client.post(f"/detect{q}", files=files) for q in ("", "?score_threshold=best")
        ]
        shown = (await client.get("/model")).json()["manifest"]["thresholds"]
    found = [[each["label"] for each in a.json()["images"][0]["detections"]] for a in answers]
    assert found == [["bird", "cat"], ["bird"]]
    assert shown == thresholds


async def test_the_timings_are_in_the_header_too_in_milliseconds(
    client: httpx.AsyncClient,
) -> None:
    answer = await client.post("/detect", files=parts(png(30, 40)))
    header = dict(each.split(";dur=") for each in answer.headers["server-timing"].split(", "))
    timings = answer.json()["timings_s"]
    assert set(header) == {*timings, "encode"}
    assert float(header["decode"]) == pytest.approx(1000 * timings["decode"], abs=0.001)


async def test_the_model_is_described(client: httpx.AsyncClient) -> None:
    body = (await client.get("/model")).json()
    assert body["placement"]["CPUExecutionProvider"]["Loop"] == 1
    assert body["manifest"]["schema"] == 3
    assert body["manifest"]["classes"] == ["cat", "dog", "bird"]
    assert (body["provider"], body["device"]) == ("CPUExecutionProvider", "cpu")
    assert {"bucket": [32, 96], "batch_sizes": [1]} in body["warmed"]
    assert body["layouts"] == [{"runs": 1, "threads": 1, "batch": 4}]
    assert body["max_batch"] == 4
    assert list(body["session_bytes"]) == ["1"]


async def test_metrics_tell_what_happened(client: httpx.AsyncClient) -> None:
    await client.post("/detect", files=parts(png(30, 40, (255, 200, 0)), b"junk"))
    await client.get("/nothing")
    text = (await client.get("/metrics")).text
    for line in (
        'fpn_requests_total{code="200",route="/detect"} 1.0',
        'fpn_requests_total{code="404",route="unmatched"} 1.0',
        'fpn_images_total{outcome="ok"} 1.0',
        'fpn_images_total{outcome="invalid_image"} 1.0',
        'fpn_detections_total{label="bird"} 1.0',
        'fpn_detection_level_total{level="P3"} 1.0',
        'fpn_stage_seconds_count{stage="encode"} 1.0',
        "fpn_ready 1.0",
        'fpn_model_info{name="tiny",precision="float32",provider="CPUExecutionProvider"'
        ',version="0123456789ab",wanted="cpu"} 1.0',
    ):
        assert line in text


async def test_the_drift_of_a_model_with_a_reference_is_shown_once_enough_was_seen(
    tiny_path: Path, tmp_path: Path
) -> None:
    histogram = {"edges": [0, 100, 200], "counts": [4, 4]}
    reference = {
        "images": 8,
        "least_score": 0.3,
        "scores": {"edges": [0.3, 0.6, 1], "counts": [[4, 4]] * 3},
        "detections": {"edges": [0, 1, 3], "counts": [0, 8]},
        "levels": [0, 4, 0, 4, 0],
        "sizes": histogram,
    }
    model = with_manifest(tiny_path, tmp_path / "model.onnx", reference=reference)
    async with running(create_app(small_settings(model, max_images=20))) as client:
        before = (await client.get("/metrics")).text
        # Wanted or not, what is found counts.
        await client.post("/detect?score_threshold=1", files=parts(*[png(30, 40)] * 19))
        after = (await client.get("/metrics")).text
    assert 'fpn_drift{label="",what="detections"} NaN' in before
    assert 'fpn_drift{label="",what="detections"} 0.0' in after
    assert 'fpn_drift{label="cat",what="scores"} 0.0' in after
    assert 'fpn_drift{label="dog",what="scores"} NaN' in after


async def test_the_drift_of_a_model_without_a_reference_is_not_there(
    client: httpx.AsyncClient,
) -> None:
    assert "fpn_drift" not in (await client.get("/metrics")).text


async def test_the_documentation_fetches_nothing_from_elsewhere(client: httpx.AsyncClient) -> None:
    page = (await client.get("/docs")).text
    assert "http://" not in page
    assert "https://" not in page
    script = await client.get("/static-offline-docs/swagger-ui-bundle.js")
    assert script.status_code == 200


async def test_regions_of_ones_own_are_answered_in_their_order_and_pixels(
    client: httpx.AsyncClient,
) -> None:
    image = base64.b64encode(png(30, 45, (255, 200, 0))).decode()
    boxes = [[3, 5, 40.5, 25], [0, 0, 45, 30]]
    sent = {"images": [{"content": image, "regions": boxes}, {"content": image}]}
    answer = await client.post("/detect?proposals=0", json=sent)
    first, second = answer.json()["images"]
    assert [region["box"] for region in first["regions"]] == boxes
    assert first["regions"][0] | {"box": 0} == {
        "label": "bird",
        "category_id": 16,
        "score": 1.0,
        "box": 0,
        "level": "P4",
    }
    assert "regions" not in second
    assert first["detections"] == second["detections"]


async def test_a_region_outside_its_image_fails_with_it_alone(client: httpx.AsyncClient) -> None:
    image = base64.b64encode(png(30, 45)).decode()
    entries = [{"content": image, "regions": [[0, 0, 45, 30], [9, 9, 46, 20]]}, {"content": image}]
    answer = await client.post("/detect", json={"images": entries})
    bad, good = answer.json()["images"]
    assert bad["error"]["type"] == "/problems/invalid-regions"
    assert (
        "inside the image of 45 x 30 pixels, number 1 is [9.0, 9.0, 46.0, 20.0]"
        in bad["error"]["detail"]
    )
    assert good["detections"]


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/detect?" + "&".join(f"x{number}=1" for number in range(5000)), "image/png"),
        ("/detect?classes=" + "%01" * 10_000, "image/png"),
        ("/detect?" + "%01" * 10_000 + "=1", "image/png"),
        ("/detect", "é" * 30_000),
        ("/" + "%02" * 10_000, "image/png"),
    ],
)
async def test_a_refusal_repeats_little_of_what_was_sent(
    client: httpx.AsyncClient, path: str, kind: str
) -> None:
    headers = [(b"content-type", kind.encode("latin-1"))]
    answer = await client.post(path, content=png(8, 9), headers=headers)
    assert 404 <= answer.status_code <= 422
    assert len(answer.content) < 65536
    assert len(problem_of(answer).get("errors", [])) <= 10
