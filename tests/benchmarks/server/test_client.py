import asyncio
import math

import pytest

from benchmarks.server.client import Load, ask, closed_loop, open_loop
from benchmarks.server.connection import LOST, Reply, connect
from benchmarks.server.serving import free_port
from tests.benchmarks.server.tiny_server import TinyApp, request, serving

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_a_connection_asks_again_and_again() -> None:
    app = TinyApp()
    async with serving(app) as port:
        connection = await connect(port)
        replies = [await ask(connection, request("/count", b"x" * size)) for size in (3, 70_000)]
        connection.close()
    # uvicorn sends them in chunks, as no length is given
    assert [(each.status, each.body) for each in replies] == [(200, b"3"), (200, b"70000")]
    assert len(app.clients) == 1


async def test_a_connection_that_ends_is_a_reply_too() -> None:
    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        connection = await connect(server.sockets[0].getsockname()[1])
        assert await ask(connection, request("/count")) == Reply(LOST, b"")


async def test_where_nobody_listens_the_reply_is_lost() -> None:
    connection = await connect(free_port())
    assert await ask(connection, request("/count")) == Reply(LOST, b"")


async def test_a_closed_loop_keeps_its_connections() -> None:
    app = TinyApp()
    async with serving(app) as port:
        load = await closed_loop(port, [request("/count")], connections=3, seconds=0.1)
    assert len(app.clients) == 3
    assert app.asked >= len(load.latencies_s) > 0
    assert load.failed == 0
    assert load.images_per_s == pytest.approx(load.answered / 0.1)


async def test_a_closed_loop_asks_no_more_than_its_connections_at_once() -> None:
    app = TinyApp()
    async with serving(app) as port:
        loop = asyncio.create_task(closed_loop(port, [request("/held")], 2, seconds=0.1))
        for _ in range(2):
            await app.waiting.acquire()
        assert app.asked == 2
        app.gate.set()
        await loop


async def test_refusals_are_failures_by_status_and_no_answers() -> None:
    async with serving(TinyApp()) as port:
        load = await closed_loop(port, [request("/fail")], connections=2, seconds=0.1)
    assert set(load.failures) == {503}
    assert (load.answered, load.latencies_s) == (0, [])


async def test_a_patient_client_comes_again_when_it_was_told() -> None:
    app = TinyApp()
    async with serving(app) as port:
        await closed_loop(port, [request("/fail")], connections=2, seconds=0.3, patient=True)
        assert app.asked == 2
        await closed_loop(port, [request("/fail")], connections=2, seconds=0.3)
        assert app.asked > 4


async def test_an_answer_of_an_open_loop_counts_from_when_its_request_was_due() -> None:
    async with serving(TinyApp()) as port:
        load = await open_loop(port, [request("/count")], [-5.0], seconds=0.1)
    assert load.latencies_s[0] >= 5.0


async def test_an_open_loop_sends_though_nothing_is_answered() -> None:
    app = TinyApp()
    async with serving(app) as port:
        loop = asyncio.create_task(open_loop(port, [request("/held")], [0.0, 0.0, 0.01], 0.1))
        for _ in range(3):
            await app.waiting.acquire()
        app.gate.set()
        load = await loop
    assert len(app.clients) == 3
    assert len(load.latencies_s) == 3


async def test_an_open_loop_takes_a_free_connection_first() -> None:
    app = TinyApp()
    async with serving(app) as port:
        warm = [request("/count")]
        await open_loop(port, warm, [0.0, 0.3, 0.6], 0.7)
    assert len(app.clients) == 1


async def test_every_request_of_an_open_loop_is_sent_or_a_failure() -> None:
    load = await open_loop(free_port(), [request("/count")], [0.0, 0.01, 0.02], 0.1)
    assert load.failures == {LOST: 3}


def test_percentiles_are_of_requests_and_a_failed_one_took_for_ever() -> None:
    load = Load(latencies_s=[0.4, 0.1, 0.2, 0.3], failures={503: 1})
    assert load.percentile_s(50) == 0.3
    assert load.percentile_s(80) == 0.4
    assert load.percentile_s(81) == math.inf


def test_no_requests_have_no_percentile() -> None:
    with pytest.raises(ValueError, match="no request"):
        Load().percentile_s(50)
