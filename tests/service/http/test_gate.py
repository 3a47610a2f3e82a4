"""Who is answered: with keys and without, route by route."""

import base64
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from service.app import create_app
from service.errors import InvalidSettings
from service.keys import new_key
from service.settings import load_settings
from tests.service.conftest import running, small_settings
from tests.service.exchange import parts, problem_of
from tests.service.images import png

pytestmark = pytest.mark.anyio

SECRET, ENTRY = new_key("camera")
QUOTA = ENTRY + "images_per_minute = 3\npixels_per_minute = 10_000\n"
WITH_KEY = {"authorization": f"Bearer {SECRET}"}
CROSS = {"origin": "https://example.org"}


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    path = tmp_path / "keys.toml"
    path.write_text(QUOTA)
    return path


@pytest.fixture
async def guarded(tiny_path: Path, keys: Path) -> AsyncIterator[httpx.AsyncClient]:
    settings = small_settings(tiny_path, keys=keys, metrics="key", docs="off")
    async with running(create_app(settings)) as client:
        yield client


async def sent(client: httpx.AsyncClient, *images: bytes, **headers: str) -> httpx.Response:
    return await client.post("/detect", files=parts(*images), headers=headers)


async def metric(client: httpx.AsyncClient, line: str) -> bool:
    text = (await client.get("/metrics", headers=WITH_KEY)).text
    return f"\n{line}\n" in text


async def test_without_keys_everything_is_open(client: httpx.AsyncClient) -> None:
    for path in ("/", "/page/page.js", "/docs", "/openapi.json", "/metrics", "/model"):
        assert (await client.get(path)).status_code == 200
    assert (await sent(client, png(8, 9))).status_code == 200
    assert "fpn_key_requests_total{" not in (await client.get("/metrics")).text


@pytest.mark.parametrize("path", ["/model", "/metrics", "/metrics/", "/nothing"])
async def test_what_needs_a_key_is_refused_without_one(
    guarded: httpx.AsyncClient, path: str
) -> None:
    answer = await guarded.get(path)
    problem = problem_of(answer)
    assert (answer.status_code, problem["type"]) == (401, "/problems/unauthorized")
    bearer, basic = answer.headers.get_list("www-authenticate")
    assert (bearer, basic.split()[0]) == ("Bearer", "Basic")


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/", "/page/page.js"])
async def test_health_and_what_was_left_open_need_none(
    guarded: httpx.AsyncClient, path: str
) -> None:
    assert (await guarded.get(path)).status_code == 200


@pytest.mark.parametrize("path", ["/docs", "/openapi.json", "/static-offline-docs/favicon.png"])
async def test_what_is_off_is_not_there_for_anybody(guarded: httpx.AsyncClient, path: str) -> None:
    for headers in ({}, WITH_KEY):
        assert (await guarded.get(path, headers=headers)).status_code == 404


@pytest.mark.parametrize(
    "headers",
    [
        WITH_KEY,
        {"authorization": f"bearer  {SECRET} "},
        {"x-api-key": SECRET},
        {"authorization": "Basic " + base64.b64encode(f"anybody:{SECRET}".encode()).decode()},
    ],
)
async def test_a_key_may_come_in_three_ways(
    guarded: httpx.AsyncClient, headers: dict[str, str]
) -> None:
    assert (await guarded.get("/model", headers=headers)).status_code == 200


@pytest.mark.parametrize(
    "value", ["Bearer wrong", "Bearer", "Basic !!!", "Basic /w==", "Digest x", "Bearer \xe9"]
)
async def test_a_wrong_key_is_refused_and_counted(guarded: httpx.AsyncClient, value: str) -> None:
    answer = await guarded.get("/model", headers={b"authorization": value.encode("latin-1")})
    assert answer.status_code == 401
    counted = [f'fpn_refused_total{{reason="{reason}"}} 1.0' for reason in ("key", "no_key")]
    assert [await metric(guarded, line) for line in counted].count(True) == 1


async def test_a_quota_refuses_with_the_time_to_wait_and_counts_by_name(
    guarded: httpx.AsyncClient,
) -> None:
    answers = [await sent(guarded, png(8, 9), **WITH_KEY) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    problem = problem_of(answers[3])
    assert problem["type"] == "/problems/quota-exceeded"
    assert 10 <= int(answers[3].headers["retry-after"]) <= 20
    assert await metric(guarded, 'fpn_key_images_total{key="camera"} 3.0')
    assert await metric(guarded, f'fpn_key_pixels_total{{key="camera"}} {3 * 72.0}')
    assert await metric(guarded, 'fpn_key_requests_total{code="429",key="camera"} 1.0')
    assert await metric(guarded, 'fpn_refused_total{reason="quota"} 1.0')


async def test_every_tile_counts_as_an_image(guarded: httpx.AsyncClient) -> None:
    wide = {"images": ("a.png", png(40, 90))}
    answer = await guarded.post("/detect?tiles=2", files=wide, headers=WITH_KEY)
    # The whole and two tiles are all of a minute's three.
    assert answer.json()["images"][0]["tiles"] == 2
    assert (await sent(guarded, png(8, 9), **WITH_KEY)).status_code == 429


async def test_what_never_fits_in_a_quota_is_too_large(guarded: httpx.AsyncClient) -> None:
    answer = await sent(guarded, png(101, 100), **WITH_KEY)
    assert problem_of(answer)["type"] == "/problems/too-large"
    assert "may ask for 10000 pixels a minute, and these are 10100" in answer.json()["detail"]


async def test_the_name_of_the_key_is_in_the_log_and_the_key_is_not(
    guarded: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("DEBUG"):
        await sent(guarded, png(8, 9), **WITH_KEY)
    (fields,) = [r.fields for r in caplog.records if r.getMessage() == "request"]  # type: ignore[attr-defined]
    assert fields["key"] == "camera"
    assert SECRET not in caplog.text + str([vars(record) for record in caplog.records])


async def test_pages_of_other_origins_may_ask_only_where_that_is_set(
    client: httpx.AsyncClient, tiny_path: Path, keys: Path
) -> None:
    preflight = CROSS | {"access-control-request-method": "POST"}
    assert (await client.options("/detect", headers=preflight)).status_code == 405
    assert "access-control-allow-origin" not in (await client.get("/model", headers=CROSS)).headers
    settings = small_settings(tiny_path, keys=keys, cors_origins="https://example.org")
    async with running(create_app(settings)) as opened:
        allowed = await opened.options("/detect", headers=preflight)
        assert allowed.headers["access-control-allow-origin"] == "https://example.org"
        # A refusal can be read, too.
        refused = await opened.get("/model", headers=CROSS)
        assert refused.status_code == 401
        assert refused.headers["access-control-allow-origin"] == "https://example.org"
        other = await opened.get("/model", headers={"origin": "https://example.net"})
        assert "access-control-allow-origin" not in other.headers


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("FPN_METRICS", "key", "FPN_METRICS: expected a file of FPN_KEYS for key; got none"),
        ("FPN_PAGE", "closed", "FPN_PAGE: expected who gets the page at /: open, key"),
        ("FPN_CORS_ORIGINS", "example.org", "FPN_CORS_ORIGINS: expected origins whose pages"),
    ],
)
async def test_settings_that_do_not_fit_stop_the_start(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, said: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(InvalidSettings) as caught:
        load_settings()
    assert caught.value.detail.startswith(said)
