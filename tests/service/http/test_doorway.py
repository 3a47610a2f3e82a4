import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route

from service.app import create_app
from service.http.access import AccessLog
from service.http.doorway import Doorway
from service.metrics import Metrics
from service.settings import Settings
from tests.service.conftest import running, small_settings

pytestmark = pytest.mark.anyio


async def where(request: Request) -> Response:
    return PlainTextResponse(f"{request.method} {request.url.path}")


def client(root_path: str = "") -> httpx.AsyncClient:
    inner = Starlette(routes=[Route("/here", where), Mount("/under", routes=[Route("/it", where)])])
    app = AccessLog(Doorway(inner.router, root_path, Metrics()), Metrics())
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test")


async def test_head_is_answered_as_get_without_the_body() -> None:
    async with client() as http:
        answer = await http.head("/here")
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-length"] == str(len("GET /here"))


@pytest.mark.parametrize("path", ["/here", "/under/it"])
async def test_a_path_is_found_with_its_prefix_and_without(path: str) -> None:
    async with client("/a/b") as http:
        answers = [await http.get(path), await http.get(f"/a/b{path}")]
        other = await http.get(f"/a/bc{path}")
    assert [answer.text for answer in answers] == [f"GET /a/b{path}"] * 2
    assert other.status_code == 404


@pytest.mark.parametrize("prefix", ["", "/detector"])
async def test_everything_works_behind_a_prefix(settings: Settings, prefix: str) -> None:
    behind = small_settings(settings.model, root_path="/detector")
    async with running(create_app(behind)) as http:
        for path in ("/livez", "/metrics", "/docs", "/static-offline-docs/swagger-ui.css"):
            assert (await http.get(prefix + path)).status_code == 200
        wrong = await http.post(f"{prefix}/detect", content=b"x", headers={"content-type": "a/b"})
        text = (await http.get("/metrics")).text
    assert wrong.json()["instance"] == "/detector/detect"
    assert 'fpn_requests_total{code="415",route="/detect"} 1.0' in text


async def test_the_documentation_names_nothing_by_an_absolute_address(settings: Settings) -> None:
    async with running(create_app(settings)) as http:
        page = (await http.get("/docs")).text
        document = (await http.get("/openapi.json")).json()
    assert "url: 'openapi.json'" in page
    assert '="/' not in page
    assert document["servers"] == [{"url": "."}]
