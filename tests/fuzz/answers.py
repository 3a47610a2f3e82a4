"""What the documentation promises of every answer, whatever was sent."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from tests.service.exchange import PROBLEM
from tests.service.wire import connected

# docs/http.md; 404 and 405 for what is not there.
DOCUMENTED = {200, 400, 404, 405, 408, 413, 415, 422, 431, 500, 503, 504}
MOST_BYTES = 65536
MOST_ERRORS = 10
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


@dataclass(frozen=True)
class Exchange:
    """The first answer on a connection: its status, or None where there was none, and what is wrong with it."""

    status: int | None
    finding: str | None


def exchange(port: int, sent: bytes, patience_s: float) -> Exchange:
    """Sends `sent`, and checks the first answer. A connection that the server ends without one is no finding."""
    received = b""
    try:
        with connected(port) as connection:
            connection.settimeout(patience_s)
            connection.sendall(sent)
            while not _is_whole(sent, received) and (data := connection.recv(65536)):
                received += data
    except TimeoutError:
        return Exchange(None, f"no whole answer in {patience_s:g} s, but {received[:100]!r}")
    except ConnectionError:
        pass  # it may close on nonsense, and an answer may have come before
    received = received.removeprefix(CONTINUE)
    if not received:
        return Exchange(None, None)
    if not _is_whole(sent, received):
        return Exchange(None, f"half an answer: {received[:100]!r}")
    status, headers, body = _parsed(received)
    return Exchange(status, _finding(status, headers, body, is_head=_is_head(sent)))


def _finding(status: int, headers: Mapping[str, str], body: bytes, *, is_head: bool) -> str | None:
    """What contradicts the documentation, or None."""
    if status not in DOCUMENTED:
        return f"{status} is not in the documentation"
    if "x-request-id" not in headers:
        return f"{status} without x-request-id"
    if status < 400 or is_head:
        return None
    kind = headers.get("content-type")
    return f"{status} is {kind}" if kind != PROBLEM else _problem_finding(status, body)


def _problem_finding(status: int, body: bytes) -> str | None:
    problem = json.loads(body)
    errors = len(problem.get("errors", []))
    if problem["status"] != status:
        return f"{status} says that it is {problem['status']}"
    if status == 500 and problem["type"] != "/problems/inference-failed":
        return f"500 is {problem['type']}"
    if len(body) > MOST_BYTES or errors > MOST_ERRORS:
        return f"{status} of {len(body)} bytes names {errors} errors"
    return None


def _parsed(received: bytes) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of the first answer."""
    head, _, body = received.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    return int(first.split()[1]), headers, body[: int(headers["content-length"])]


def _is_head(sent: bytes) -> bool:
    return sent.lstrip(b"\r\n").startswith(b"HEAD ")


def _is_whole(sent: bytes, received: bytes) -> bool:
    received = received.removeprefix(CONTINUE)
    if b"\r\n\r\n" not in received:
        return False
    _, headers, body = _parsed(received)
    return _is_head(sent) or len(body) >= int(headers["content-length"])
