"""HTTP/1.1 on one connection: uvicorn's protocol, with limits that it has no settings for.

It parses with httptools, in C. h11 has a limit of headers of its own, but parses every chunk of a body in Python, and a
client sends as many of them as it likes.

    silent, or between requests    header_s at first, then keep_alive_s     closed
    a part of the headers is there header_s from their first byte           408
    a request is inside            its own deadline
    the answer is not taken        linger_s                                 dropped
    answered, its body still comes linger_s                                 closed
"""

import asyncio
from http import HTTPStatus
from math import inf
from typing import Any
from uuid import uuid4

import httptools
from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from service.http.connections import Connections
from service.http.lingering import LingeringTransport
from service.http.problems import MEDIA_TYPE, problem_of_status

# Requests that a client may send ahead of their answers. Each costs time before it has an answer's place.
MOST_AHEAD = 16
# Headers of the hop that names another protocol to change to; the request itself is taken as it is.
OF_AN_UPGRADE = (b"upgrade", b"http2-settings", b"connection")


class HttpConnection(HttpToolsProtocol):
    """One connection.

    Attributes:
        expires: the event loop's time at which what it does has taken too long.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        connections: Connections,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.expires = inf
        self._all = connections
        self._limits = connections.limits
        # Whether a message has begun and not ended; whether its headers are there.
        self._is_coming = False
        self._has_headers = False
        # Bytes that brought neither headers nor a body to their end, and whether this reading did.
        self._loose_bytes = 0
        self._got_on = False
        # Nothing more is read once something was no HTTP.
        self._is_deaf = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Takes a place, and waits for a request."""
        lingering = LingeringTransport(transport, lambda: self._is_coming, self._on_closing)
        super().connection_made(lingering)
        self._all.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Gives the place back."""
        self._all.closed(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parses what came, unless it comes too late or after nonsense."""
        if self._is_deaf or self.transport.is_closing():
            return
        if not self._is_coming:
            self._is_coming = True
            self._has_headers = False
            if not self._is_answering:
                self._all.expire_in(self, self._limits.header_s)
        self._loose_bytes += len(data)
        self._got_on = False
        self._feed(data)
        if self._got_on:
            self._loose_bytes = 0
        elif self._loose_bytes > self._limits.max_header_bytes:
            self._refuse_headers()

    def _feed(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._feed_without_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError:
            self.send_400_response("what came is not HTTP/1.1")

    def _feed_without_upgrade(self, rest: bytes) -> None:
        """The same request, as if it had named no other protocol: a server may ignore that (RFC 9110, 7.8)."""
        if self._is_deaf:
            return
        method, version = self.parser.get_method(), self.parser.get_http_version().encode()
        if method == b"CONNECT":
            self.send_400_response("CONNECT: this is no proxy")
            return
        tokens = b",".join(value for name, value in self.headers if name == b"connection").lower()
        kept = [(name, value) for name, value in self.headers if name not in OF_AN_UPGRADE]
        if b"close" in tokens:
            kept.append((b"connection", b"close"))
        lines = [
            b"%s %s HTTP/%s" % (method, self.url, version),
            *(b"%s: %s" % pair for pair in kept),
        ]
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's own
        self._feed(b"\r\n".join([*lines, b"", b""]) + rest)

    def on_message_begin(self) -> None:
        """A message begins."""
        super().on_message_begin()
        self._is_coming = True
        self._has_headers = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keeps a header; one behind a chunked body is no header of ours."""
        if not self._has_headers:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Lets the request in, unless its headers are too long or too many are before it."""
        if self._is_deaf:
            return
        self._got_on = True
        if self.parser.should_upgrade():
            return
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > self._limits.max_header_bytes:
            self._refuse_headers()
        elif len(self.pipeline) >= MOST_AHEAD:
            self.send_400_response(f"more than {MOST_AHEAD} requests wait for their answers")
        else:
            self._has_headers = True
            self._all.busy(self)
            self.scope["state"]["for_health"] = self._all.is_for_health(self)
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Keeps a part of the body."""
        self._got_on = True
        if not self._is_deaf:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """The message is whole."""
        self._got_on = True
        if self._is_deaf or self.parser.should_upgrade():
            return
        self._is_coming = False
        super().on_message_complete()
        if not self._is_answering and not self.transport.is_closing():
            self._all.idle(self, self._limits.keep_alive_s)

    def on_response_complete(self) -> None:
        """Waits for the next request, or for the rest of this one."""
        super().on_response_complete()
        if self.transport.is_closing() or self._is_answering:
            return
        if not self._is_coming:
            self._all.idle(self, self._limits.keep_alive_s)
        elif self._has_headers:
            self._all.expire_in(self, self._limits.linger_s)
        else:
            self._all.idle(self, self._limits.header_s)

    def pause_writing(self) -> None:
        """The client does not take its answer."""
        super().pause_writing()
        self._all.expire_in(self, self._limits.linger_s)

    def resume_writing(self) -> None:
        """It does again."""
        super().resume_writing()
        if self._is_answering and not self.transport.is_closing():
            self.expires = inf

    def send_400_response(self, msg: str) -> None:
        """Refuses what is no request, as a problem."""
        self._refuse(HTTPStatus.BAD_REQUEST, msg)

    def expire(self) -> None:
        """Ends what has taken too long."""
        if self.transport.is_closing() or self.flow.write_paused:
            self.drop()
        elif self._is_coming and not self._has_headers:
            detail = f"the headers did not come within {self._limits.header_s:g} s"
            self._refuse(HTTPStatus.REQUEST_TIMEOUT, detail)
        else:
            self.transport.close()

    def drop(self) -> None:
        """Closes it at once."""
        self.transport.abort()

    @property
    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _on_closing(self) -> None:
        self.flow.resume_reading()
        self._all.expire_in(self, self._limits.linger_s)

    def _refuse_headers(self) -> None:
        limit = (
            f"the request's line and headers have more than {self._limits.max_header_bytes} bytes"
        )
        self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, limit)

    def _refuse(self, status: HTTPStatus, detail: str) -> None:
        """Answers with a problem, once all requests before it have their answers, and reads no further."""
        self._is_deaf = self._is_coming = True
        host, _ = self.client or ("", 0)
        self._all.refused(status, detail, host)
        if self._is_answering:
            self.cycle.keep_alive = False
            if self.cycle.response_started or not self.cycle.more_body:
                return
            if self.pipeline:
                self.drop()
                return
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.transport.write(self._problem(status, detail))
        self.transport.close()

    def _problem(self, status: HTTPStatus, detail: str) -> bytes:
        problem = problem_of_status(status, detail)
        problem.request_id = uuid4().hex
        body = problem.model_dump_json(exclude_none=True).encode()
        headers = [
            *self.server_state.default_headers,
            (b"content-type", MEDIA_TYPE.encode()),
            (b"content-length", str(len(body)).encode()),
            (b"x-request-id", problem.request_id.encode()),
            (b"connection", b"close"),
        ]
        first = f"HTTP/1.1 {status} {status.phrase}".encode()
        return b"\r\n".join([first, *(b"%s: %s" % pair for pair in headers), b"", body])
