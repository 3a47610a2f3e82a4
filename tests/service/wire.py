"""Bytes to a server and back, as no client would send them."""

import json
import socket
from http.client import HTTPResponse
from typing import Any, NamedTuple

from tests.service.process import TIME_LIMIT_S


class Answer(NamedTuple):
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def problem(self) -> dict[str, Any]:
        """The problem that it is; it must be one, whole and consistent."""
        assert self.headers["content-type"] == "application/problem+json"
        problem: dict[str, Any] = json.loads(self.body)
        assert problem["status"] == self.status
        assert problem["request_id"] == self.headers["x-request-id"]
        return problem


def connected(port: int) -> socket.socket:
    """A connection to the server."""
    return socket.create_connection(("127.0.0.1", port), TIME_LIMIT_S)


def answer_on(connection: socket.socket, method: str = "POST") -> Answer:
    """The next answer on `connection`."""
    response = HTTPResponse(connection, method=method)
    response.begin()
    headers = {name.lower(): value for name, value in response.getheaders()}
    return Answer(response.status, headers, response.read())


def exchanged(port: int, *sent: bytes, method: str = "POST") -> Answer:
    """The answer to `sent`, on a connection of its own."""
    with connected(port) as connection:
        for data in sent:
            connection.sendall(data)
        return answer_on(connection, method)


def all_on(connection: socket.socket) -> bytes:
    """Everything that comes until the server closes `connection`."""
    received = b""
    try:
        while data := connection.recv(2**20):
            received += data
    except ConnectionError:
        pass
    return received


def is_ended(connection: socket.socket) -> bool:
    """Whether the server closes `connection`, or its side of it, without another byte; waits for it."""
    try:
        return connection.recv(1) == b""
    except ConnectionError:
        return True


def post(body: bytes, *headers: str, kind: str = "image/png", length: int | None = None) -> bytes:
    """A request with `body`."""
    size = len(body) if length is None else length
    lines = [f"Content-Type: {kind}", f"Content-Length: {size}", *headers]
    head = "\r\n".join(["POST /detect HTTP/1.1", "Host: test", *lines, "", ""])
    return head.encode("latin-1") + body


GET = b"GET /livez HTTP/1.1\r\nHost: test\r\n\r\n"
