"""The clients of a bad hour: each sends one request and sees how it ends."""

import asyncio
from contextlib import suppress
from time import perf_counter

import httptools

from benchmarks.overload.mix import Sent
from benchmarks.overload.outcomes import Tally, outcome_of

HOST = "127.0.0.1"
# After the deadline that a request names; a server that has not answered then hangs.
GRACE_S = 10.0
LOOK = Sent("interactive", b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
BETWEEN_LOOKS_S = 0.1


class _Answer:
    """Collects what httptools finds in the bytes of a response."""

    def __init__(self) -> None:
        self.body, self.ended = b"", False

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.ended = True


async def send(port: int, sent: Sent, timeout_s: float, tally: Tally) -> None:
    """Sends one request, and counts in `tally` how it ended."""
    began = perf_counter()
    limit_s = timeout_s + sent.pieces * sent.apart_s + GRACE_S
    try:
        async with asyncio.timeout(limit_s):
            reply = await _exchange(port, sent)
    except TimeoutError:
        tally.outcomes[sent.kind, "hung"] += 1
        return
    except (ConnectionError, asyncio.IncompleteReadError):
        reply = None
    if reply is None:
        tally.outcomes[sent.kind, "left" if sent.kind == "hang-up" else "closed"] += 1
        return
    outcome = outcome_of(*reply)
    tally.outcomes[sent.kind, outcome] += 1
    # The deadline counts from the first byte, and who sends slowly uses it up.
    if outcome == "200" and sent.kind != "slow":
        tally.answer_s.append(perf_counter() - began)


async def _exchange(port: int, sent: Sent) -> tuple[int, bytes] | None:
    """Status and body; None from who hangs up, and from a server that does."""
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        step = -(-len(sent.request) // sent.pieces)
        for start in range(0, len(sent.request), step):
            writer.write(sent.request[start : start + step])
            await writer.drain()
            if sent.apart_s:
                await asyncio.sleep(sent.apart_s)
        if sent.kind == "hang-up":
            await asyncio.sleep(0.02)
            return None
        return await _read(reader)
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def _read(reader: asyncio.StreamReader) -> tuple[int, bytes] | None:
    answer = _Answer()
    parser = httptools.HttpResponseParser(answer)
    while not answer.ended:
        data = await reader.read(65536)
        if not data:
            return None
        parser.feed_data(data)
    return parser.get_status_code(), answer.body


async def watch_livez(port: int, tally: Tally, over: asyncio.Event) -> None:
    """Looks at /livez ten times a second, each time over a connection of its own, until it is over."""
    while not over.is_set():
        began = perf_counter()
        status = 0
        with suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(GRACE_S):
                status, _ = await _exchange(port, LOOK) or (0, b"")
        tally.livez_s.append(perf_counter() - began if status == 200 else float("inf"))
        await asyncio.sleep(BETWEEN_LOOKS_S)
