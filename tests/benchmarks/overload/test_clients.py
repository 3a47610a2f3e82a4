"""The clients of the overload run, against servers that behave in all the ways there are."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from benchmarks.overload import clients
from benchmarks.overload.clients import send, watch_livez
from benchmarks.overload.mix import SHARES, Kind, Mix, Sent
from benchmarks.overload.outcomes import Outcome, Tally
from tests.service.images import encoded, plain

pytestmark = pytest.mark.anyio
OK = b'HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n{"images":[{}]}'


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@asynccontextmanager
async def server(answer: Callable[[asyncio.StreamWriter], object]) -> AsyncIterator[int]:
    """The port of a server that reads a request and then does `answer`."""

    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        await reader.read(10)
        answer(writer)

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listening:
        yield listening.sockets[0].getsockname()[1]
        for writer in writers:
            writer.close()
        await asyncio.gather(*(each.wait_closed() for each in writers), return_exceptions=True)


@pytest.mark.parametrize(
    ("answer", "kind", "expected"),
    [
        (lambda writer: writer.write(OK), "interactive", "200"),
        (lambda writer: writer.close(), "interactive", "closed"),
        (lambda writer: None, "interactive", "hung"),
        (lambda writer: writer.write(OK), "hang-up", "left"),
        (lambda writer: writer.write(OK.replace(b"images", b"imagos")), "bulk", "malformed"),
    ],
)
async def test_how_a_request_ends_is_counted(
    answer: Callable[[asyncio.StreamWriter], object],
    kind: Kind,
    expected: Outcome,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(clients, "GRACE_S", 0.05)
    tally = Tally()
    async with server(answer) as port:
        await send(port, Sent(kind, b"GET / HTTP/1.1\r\n\r\n"), 0.05, tally)
    assert dict(tally.outcomes) == {(kind, expected): 1}
    assert len(tally.answer_s) == (expected == "200")


async def test_a_slow_client_sends_all_of_it_in_pieces() -> None:
    tally = Tally()
    async with server(lambda writer: writer.write(OK)) as port:
        await send(port, Sent("slow", b"0123456789" * 3, 4, 0.001), 5.0, tally)
    assert dict(tally.outcomes) == {("slow", "200"): 1}


async def test_a_look_at_a_server_that_is_not_well_takes_infinitely_long() -> None:
    tally, over = Tally(), asyncio.Event()
    async with server(lambda writer: writer.close()) as port:
        watching = asyncio.create_task(watch_livez(port, tally, over))
        while not tally.livez_s:
            await asyncio.sleep(0.001)
        over.set()
        await watching
    assert tally.livez_s[0] == float("inf")


def test_the_same_seed_draws_the_same_requests_of_every_kind() -> None:
    first, second = (
        Mix([encoded(plain(30, 40, (9, 8, 7)), "JPEG")], 5.0, seed=3) for _ in range(2)
    )
    drawn = [first.draw() for _ in range(200)]
    assert drawn == [second.draw() for _ in range(200)]
    assert {each.kind for each in drawn} == set(SHARES)
    for each in drawn:
        assert (b"priority=bulk" in each.request) == (each.kind == "bulk")
