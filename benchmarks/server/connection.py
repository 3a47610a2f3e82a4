"""One kept connection to a server, as cheap as can be: requests are ready-made bytes, answers are parsed in C."""

import asyncio
from dataclasses import dataclass
from typing import cast

from httptools import HttpParserError, HttpResponseParser

LOST = 0  # in the place of a status


@dataclass(frozen=True)
class Reply:
    """What came back: the HTTP status, or LOST, the body, and the seconds of Retry-After; 0 where there was none."""

    status: int
    body: bytes
    retry_after_s: float = 0.0

    @property
    def good(self) -> bool:
        """Whether it is an answer."""
        return self.status == 200


class Connection(asyncio.Protocol):
    """Asks one request at a time."""

    def __init__(self) -> None:
        self.open = False
        self._transport: asyncio.Transport | None = None
        self._reply: asyncio.Future[Reply] | None = None
        self._parser = HttpResponseParser(self)
        self._body: list[bytes] = []
        self._retry_after_s = 0.0

    def ask(self, request: bytes) -> asyncio.Future[Reply]:
        """The reply to come. It always comes: LOST when the connection ends before."""
        self._reply = asyncio.get_running_loop().create_future()
        if not self.open or self._transport is None:
            self._answer(Reply(LOST, b""))
        else:
            self._parser, self._body, self._retry_after_s = HttpResponseParser(self), [], 0.0
            self._transport.write(request)
        return self._reply

    def close(self) -> None:
        """Ends the connection."""
        self.open = False
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop."""
        # uvloop's is of no class of asyncio's.
        self._transport, self.open = cast(asyncio.Transport, transport), True

    def data_received(self, data: bytes) -> None:
        """Called by the event loop."""
        try:
            self._parser.feed_data(data)
        except HttpParserError:
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the event loop."""
        self.open = False
        self._answer(Reply(LOST, b""))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by the parser."""
        if name.lower() == b"retry-after":
            self._retry_after_s = float(value)

    def on_body(self, body: bytes) -> None:
        """Called by the parser."""
        self._body.append(body)

    def on_message_complete(self) -> None:
        """Called by the parser."""
        if not self._parser.should_keep_alive():
            self.open = False
        status, body = self._parser.get_status_code(), b"".join(self._body)
        self._answer(Reply(status, body, self._retry_after_s))

    def _answer(self, reply: Reply) -> None:
        if self._reply is not None and not self._reply.done():
            self._reply.set_result(reply)


async def connect(port: int) -> Connection:
    """A connection to `port` of this host; closed already where nobody listens."""
    connection = Connection()
    try:
        await asyncio.get_running_loop().create_connection(lambda: connection, "127.0.0.1", port)
    except OSError:
        connection.open = False
    return connection
