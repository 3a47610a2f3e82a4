"""The HTTP interface under pressure: warming up, full, late, abandoned, broken. The model waits at a gate."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.types import Message, Scope

from service.app import create_app
from service.settings import Settings
from tests.service.conftest import running, small_settings
from tests.service.exchange import parts, problem_of
from tests.service.fakes import GatedModel, until
from tests.service.images import endless_jpeg, png

pytestmark = pytest.mark.anyio
PNG = {"content-type": "image/png"}


class Gated:
    """A served application whose model waits, and the means to look inside."""

    def __init__(self, settings: Settings) -> None:
        self.app = create_app(settings)
        self.model = GatedModel(self.app.state.engine, hold=True)
        self.app.state.engine = self.model

    def waiting(self) -> int:
        waiting: int = self.app.state.detector.inference.waiting
        return waiting


@pytest.fixture
async def gated(settings: Settings) -> AsyncIterator[tuple[Gated, httpx.AsyncClient]]:
    gated = Gated(small_settings(settings.model, queue_images=2, max_images=2))
    gated.model.hold = False
    async with running(gated.app) as client:
        gated.model.hold = True
        yield gated, client
        gated.model.open()


def post(client: httpx.AsyncClient, query: str = "") -> "asyncio.Task[httpx.Response]":
    return asyncio.create_task(client.post(f"/detect?{query}", files=parts(png(30, 40))))


async def test_it_is_alive_and_not_ready_while_it_warms_up(settings: Settings) -> None:
    gated = Gated(settings)
    app = gated.app
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://test") as client,
    ):
        await gated.model.begun()
        assert (await client.get("/livez")).json() == {"status": "ok"}
        for answer in (await client.get("/readyz"), await client.post("/detect")):
            problem = problem_of(answer)
            assert (answer.status_code, problem["type"]) == (503, "/problems/unavailable")
            assert int(answer.headers["retry-after"]) >= 1
        gated.model.open()
        await asyncio.wait([app.state.warming])
        assert (await client.get("/readyz")).json() == {"status": "ok"}


async def test_a_full_server_refuses_with_a_time_to_come_back(
    gated: tuple[Gated, httpx.AsyncClient],
) -> None:
    server, client = gated
    inside = [post(client)]
    await server.model.begun()
    inside.append(post(client))  # behind the batch that has begun
    await until(lambda: server.waiting() == 1)
    answer = await client.post("/detect", content=b"never read")
    assert (answer.status_code, problem_of(answer)["type"]) == (503, "/problems/overloaded")
    assert int(answer.headers["retry-after"]) >= 1
    server.model.open()
    assert [(await task).status_code for task in inside] == [200, 200]
    assert (await post(client)).status_code == 200
    assert 'fpn_refused_total{reason="full"} 1.0' in (await client.get("/metrics")).text


async def test_a_full_server_answers_with_the_status_that_was_set(settings: Settings) -> None:
    gated = Gated(small_settings(settings.model, queue_images=1, max_images=1, full_status=429))
    gated.model.hold = False
    async with running(gated.app) as client:
        gated.model.hold = True
        inside = post(client)
        await gated.model.begun()
        answer = await post(client)
        assert (answer.status_code, problem_of(answer)["status"]) == (429, 429)
        assert int(answer.headers["retry-after"]) >= 1
        gated.model.open()
        await inside


async def test_clients_that_trickle_their_bodies_take_no_place(
    gated: tuple[Gated, httpx.AsyncClient],
) -> None:
    server, client = gated
    sent = asyncio.Event()

    async def trickle() -> AsyncIterator[bytes]:
        yield b"x"
        await sent.wait()

    admission = server.app.state.detector.admission
    trickling = [
        asyncio.create_task(client.post("/detect", content=trickle(), headers=PNG))
        for _ in range(9)
    ]
    await until(lambda: admission.bytes == 9)
    server.model.open()
    assert (await post(client)).status_code == 200
    sent.set()
    answers = await asyncio.gather(*trickling)
    assert {answer.status_code for answer in answers} <= {400, 503}
    assert admission.bytes == 0


async def test_bulk_is_answered_after_what_is_interactive(settings: Settings) -> None:
    gated = Gated(small_settings(settings.model, max_batch=1))
    gated.model.hold = False
    async with running(gated.app) as client:
        gated.model.hold = True
        blocker = post(client)
        await gated.model.begun()
        bulk = post(client, "priority=bulk")
        await until(lambda: gated.waiting() == 1)
        interactive = post(client)
        await until(lambda: gated.waiting() == 2)
        gated.model.let_go(2)
        assert (await interactive).status_code == 200
        assert not bulk.done()
        gated.model.open()
        assert {(await each).status_code for each in (blocker, bulk)} == {200}


async def test_a_request_whose_images_do_not_all_fit_is_refused_whole(
    gated: tuple[Gated, httpx.AsyncClient],
) -> None:
    server, client = gated
    inside = post(client)
    await server.model.begun()
    answer = await client.post("/detect", files=parts(png(8, 9), png(8, 9)))
    assert problem_of(answer)["type"] == "/problems/overloaded"
    server.model.open()
    assert (await inside).status_code == 200


async def test_a_deadline_is_answered_while_the_model_is_still_busy(
    gated: tuple[Gated, httpx.AsyncClient],
) -> None:
    server, client = gated
    answer = await post(client, "timeout_s=0.05")
    assert (answer.status_code, problem_of(answer)["type"]) == (504, "/problems/deadline-exceeded")
    server.model.open()
    assert (await post(client)).status_code == 200


class Leaver:
    """A client that sends an image, and closes the connection when told to leave."""

    def __init__(self) -> None:
        self.leave = asyncio.Event()
        self._messages: list[Message] = [{"type": "http.request", "body": png(30, 40)}]

    async def receive(self) -> Message:
        if not self._messages:
            await self.leave.wait()
        return self._messages.pop() if self._messages else {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """Nobody is there to read it."""


async def test_a_client_that_goes_away_takes_its_images_out_of_the_queue(
    gated: tuple[Gated, httpx.AsyncClient],
) -> None:
    server, client = gated
    inside = post(client)
    await server.model.begun()
    leaver = Leaver()
    gone = asyncio.create_task(server.app(_post_scope(), leaver.receive, leaver.send))
    await until(lambda: server.waiting() == 1)
    leaver.leave.set()
    await gone
    assert server.waiting() == 0
    server.model.open()
    assert (await inside).status_code == 200
    text = (await client.get("/metrics")).text
    assert 'fpn_requests_total{code="499",route="/detect"} 1.0' in text
    assert 'fpn_images_total{outcome="cancelled"} 1.0' in text


def _post_scope() -> Scope:
    return {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/detect",
        "raw_path": b"/detect",
        "query_string": b"",
        "headers": [(b"content-type", b"image/png"), (b"host", b"test")],
        "client": ("127.0.0.1", 1),
        "server": ("test", 80),
    }


async def test_a_dead_batch_loop_fails_liveness_and_readiness(
    gated: tuple[Gated, httpx.AsyncClient],
) -> None:
    server, client = gated
    inside = post(client)
    await server.model.begun()
    (loop,) = (task for task in asyncio.all_tasks() if task.get_name() == "batcher")
    loop.cancel()
    assert (await inside).status_code == 503
    for path in ("/livez", "/readyz"):
        answer = await client.get(path)
        assert (answer.status_code, problem_of(answer)["detail"]) == (
            503,
            "the batch loop has ended",
        )
    assert (await post(client)).status_code == 503


async def test_a_stalled_batch_fails_liveness(settings: Settings) -> None:
    gated = Gated(small_settings(settings.model, stall_s=0.001))
    gated.model.hold = False
    async with running(gated.app) as client:
        gated.model.hold = True
        inside = post(client)
        await gated.model.begun()
        await until(lambda: gated.app.state.detector.readiness.fault is not None)
        assert (await client.get("/livez")).status_code == 503
        gated.model.open()
        assert (await inside).status_code == 200
        assert (await client.get("/livez")).status_code == 200


async def test_valid_images_that_would_take_minutes_hold_up_nobody(
    client: httpx.AsyncClient,
) -> None:
    files = parts(endless_jpeg())
    late = [client.post("/detect?timeout_s=0.5", files=files) for _ in range(2)]
    # Refused by what the header says that they cost, or ended at their deadline.
    assert {answer.status_code for answer in await asyncio.gather(*late)} <= {503, 504}
    assert (await client.get("/livez")).status_code == 200
    assert (await client.post("/detect", files=parts(png(30, 40)))).status_code == 200
