import asyncio
import json
import logging

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.http.access import AccessLog
from service.metrics import Metrics

pytestmark = pytest.mark.anyio


async def well(request: Request) -> Response:
    return PlainTextResponse(request.state.request_id)


async def badly(request: Request) -> Response:
    raise KeyError("secret")


async def half(request: Request) -> Response:
    async def parts() -> object:
        yield b"a"
        raise KeyError("secret")

    return StreamingResponse(parts())  # type: ignore[arg-type]


def application() -> tuple[ASGIApp, Metrics]:
    metrics = Metrics()
    routes = [Route("/well/{name}", well), Route("/badly", badly), Route("/half", half)]
    return AccessLog(Starlette(routes=routes).router, metrics), metrics


async def get(app: ASGIApp, path: str, **headers: str) -> httpx.Response:
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://test"
    ) as client:
        return await client.get(path, headers=headers)


async def test_a_request_gets_an_id_of_its_own() -> None:
    app, _ = application()
    one, other = await asyncio.gather(get(app, "/well/1"), get(app, "/well/2"))
    assert one.headers["x-request-id"] == one.text
    assert one.text != other.text


async def test_the_id_of_the_caller_is_kept() -> None:
    app, _ = application()
    answer = await get(app, "/well/1", **{"x-request-id": "a1-B2_c3.d4"})
    assert answer.headers["x-request-id"] == answer.text == "a1-B2_c3.d4"


@pytest.mark.parametrize("hostile", ["a b", 'x"y', "x" * 129, "\t"])
def test_an_id_that_could_forge_a_log_line_is_replaced(hostile: str) -> None:
    app, _ = application()
    answer = asyncio.run(get(app, "/well/1", **{"x-request-id": hostile}))
    assert answer.headers["x-request-id"] != hostile
    assert len(answer.text) == 32


async def test_an_unexpected_error_is_a_500_that_tells_nothing_and_a_log_line_that_tells_all(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app, metrics = application()
    answer = await get(app, "/badly")
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert json.loads(answer.text)["request_id"] == answer.headers["x-request-id"]
    assert "secret" not in answer.text
    assert "KeyError: 'secret'" in caplog.text
    sample = metrics.registry.get_sample_value
    assert sample("fpn_requests_total", {"route": "/badly", "code": "500"}) == 1


async def test_an_error_in_the_middle_of_a_reply_breaks_it_off() -> None:
    app, _ = application()
    with pytest.raises(KeyError):
        await get(app, "/half")


async def test_routes_are_counted_by_template_and_unknown_paths_as_one() -> None:
    app, metrics = application()
    for path in ("/well/1", "/well/2", "/nowhere/1", "/nowhere/2"):
        await get(app, path)
    sample = metrics.registry.get_sample_value
    assert sample("fpn_requests_total", {"route": "/well/{name}", "code": "200"}) == 2
    assert sample("fpn_requests_total", {"route": "unmatched", "code": "404"}) == 2


async def test_each_request_makes_one_line(caplog: pytest.LogCaptureFixture) -> None:
    app, _ = application()
    with caplog.at_level(logging.INFO, "service.http.access"):
        await get(app, "/well/1")
    (record,) = caplog.records
    fields = vars(record)["fields"]
    assert (fields["method"], fields["path"], fields["code"]) == ("GET", "/well/1", 200)
    assert fields["total_s"] >= 0


async def test_a_request_whose_drain_is_cut_short_is_told_so_as_a_problem() -> None:
    inside = asyncio.Event()
    sent: list[Message] = []

    async def endless(scope: Scope, receive: Receive, send: Send) -> None:
        inside.set()
        await asyncio.Event().wait()

    async def nothing() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
    task = asyncio.create_task(AccessLog(endless, Metrics())(scope, nothing, send))
    await inside.wait()
    task.cancel()
    await task
    assert [message.get("status") for message in sent] == [503, None]
    assert json.loads(sent[1]["body"])["type"] == "/problems/unavailable"
