"""Connections as they come from a network, to a real server on a real socket."""

import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NoReturn

import pytest

from service.settings import possible_connections
from tests.service.images import png
from tests.service.process import ServerProcess, serving
from tests.service.wire import GET, all_on, answer_on, connected, exchanged, is_ended, post

# A second where the default is ten: tests wait for it to pass, and compare no times.
VARIABLES = {
    "FPN_MAX_HEADER_BYTES": "4096",
    "FPN_HEADER_TIMEOUT_S": "1",
    "FPN_KEEP_ALIVE_S": "1",
    "FPN_LINGER_S": "1",
    "FPN_UPLOAD_PAUSE_S": "1",
    "FPN_MAX_BODY_BYTES": "100000",
}
IMAGE = png(30, 45)


@pytest.fixture(scope="module")
def server(tiny_path: Path) -> Iterator[ServerProcess]:
    with serving(FPN_MODEL=str(tiny_path), **VARIABLES) as server:
        server.line_with("event=ready")
        yield server


@pytest.fixture(scope="module")
def port(server: ServerProcess) -> int:
    return server.port()


UPGRADE = (
    "Connection: Upgrade, HTTP2-Settings",
    "Upgrade: h2c",
    "HTTP2-Settings: AAMAAABkAAQCAAAA",
)


@pytest.mark.parametrize("headers", [UPGRADE, ("Connection: upgrade", "Upgrade: websocket")])
def test_an_offer_to_change_the_protocol_is_ignored_and_the_request_served(
    port: int, headers: tuple[str, ...]
) -> None:
    whole = post(IMAGE, *headers)
    with connected(port) as connection:
        for chunk in (whole[:40], whole[40:-30], whole[-30:]):
            connection.sendall(chunk)
        first = answer_on(connection)
        connection.sendall(GET)
        second = answer_on(connection)
    assert (first.status, second.status) == (200, 200)
    assert first.body.startswith(b'{"model":')


def test_an_offer_with_a_chunked_body_is_served_too(port: int) -> None:
    head = b"POST /detect HTTP/1.1\r\nHost: a\r\nContent-Type: image/png\r\nTransfer-Encoding: chunked\r\n"
    body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(IMAGE), IMAGE)
    offer = b"Connection: Upgrade, close\r\nUpgrade: h2c\r\n\r\n"
    answer = exchanged(port, head + offer + body)
    assert (answer.status, answer.headers["connection"]) == (200, "close")


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /livez HTTP/1.1\r\nA: " + b"x" * 10_000,
        b"GET /livez HTTP/1.1\r\n" + b"A: x\r\n" * 2000 + b"\r\n",
        b"GET /" + b"x" * 10_000 + b" HTTP/1.1\r\n\r\n",
    ],
)
def test_headers_past_the_limit_are_refused_before_they_end(port: int, sent: bytes) -> None:
    problem = exchanged(port, sent).problem
    assert (problem["status"], problem["title"]) == (431, "Request Header Fields Too Large")
    assert "4096 bytes" in problem["detail"]


def test_what_follows_a_body_is_held_to_the_limit_of_headers(port: int) -> None:
    head = (
        b"POST /detect HTTP/1.1\r\nHost: a\r\nContent-Type: image/png\r\nExpect: 100-continue\r\n"
    )
    with connected(port) as connection:
        connection.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n")
        assert b"100 Continue" in connection.recv(1000)
        connection.sendall(b"0\r\nA: " + b"x" * 10_000)
        assert answer_on(connection).problem["status"] == 431


def pour(connection: socket.socket) -> NoReturn:
    """Sends without end, until the other side has enough."""
    while True:
        connection.sendall(b"x" * 65536)


def test_headers_without_end_do_not_reach_the_server(port: int) -> None:
    with connected(port) as connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\nA: ")
        with pytest.raises(ConnectionError):
            pour(connection)


@pytest.mark.parametrize(
    "sent",
    [
        b"garbage\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 100,  # TLS
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nA b: c\r\n\r\n",
        b"CONNECT a:80 HTTP/1.1\r\n\r\n",
        b"POST /detect HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"POST /detect HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /detect HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /detect HTTP/1.1\r\nContent-Type: image/png\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_what_is_not_http_is_told_so_as_a_problem(port: int, sent: bytes) -> None:
    with connected(port) as connection:
        connection.sendall(sent)
        assert answer_on(connection).problem["status"] == 400
        assert is_ended(connection)


def test_an_answer_on_its_way_is_not_broken_by_nonsense_behind_its_request(port: int) -> None:
    with connected(port) as connection:
        connection.sendall(post(IMAGE) + b"garbage\r\n\r\n")
        assert answer_on(connection).status == 200
        assert is_ended(connection)


@pytest.mark.parametrize(("count", "answered"), [(10, 10), (500, 17)])
def test_requests_sent_ahead_are_answered_up_to_a_number(
    port: int, count: int, answered: int
) -> None:
    with connected(port) as connection:
        connection.sendall(GET * count)
        assert all_on(connection).count(b"HTTP/1.1 200 OK") == answered


def test_what_is_left_of_a_body_with_a_short_length_is_no_second_request(port: int) -> None:
    with connected(port) as connection:
        connection.sendall(post(IMAGE, length=len(IMAGE) - 8))
        assert all_on(connection).count(b"HTTP/1.1 ") == 1


def test_a_body_with_a_long_length_is_waited_for_no_longer_than_an_upload_may_pause(
    port: int,
) -> None:
    answer = exchanged(port, post(IMAGE, length=len(IMAGE) + 8))
    assert answer.problem["type"] == "/problems/upload-too-slow"


@pytest.mark.parametrize("begun", [b"GET /livez HTT", b"GET /livez HTTP/1.1\r\nHost: te"])
def test_headers_that_do_not_come_to_their_end_are_given_up(port: int, begun: bytes) -> None:
    with connected(port) as connection:
        connection.sendall(begun)
        assert answer_on(connection).problem["status"] == 408
        assert is_ended(connection)


def test_headers_that_trickle_are_given_up_as_well(port: int) -> None:
    with connected(port) as connection:
        connection.sendall(GET)  # also when it has been of use
        assert answer_on(connection).status == 200
        connection.settimeout(0.1)
        answer = b""
        for byte in (GET.rstrip() * 1000).replace(b"\r\n", b"x"):
            try:
                connection.sendall(bytes([byte]))
                answer = connection.recv(1000)
            except TimeoutError:
                continue
            break
    assert answer.startswith(b"HTTP/1.1 408")


@pytest.mark.parametrize("used", [False, True])
def test_a_silent_connection_is_closed_without_a_word(port: int, used: bool) -> None:
    with connected(port) as connection:
        if used:
            connection.sendall(GET)
            assert answer_on(connection).status == 200
        assert is_ended(connection)


def test_a_body_that_trickles_is_ended_with_408_and_its_connection_too(port: int) -> None:
    with connected(port) as connection:
        connection.sendall(post(b"x", length=1000))
        answer = answer_on(connection)
        assert answer.problem["type"] == "/problems/upload-too-slow"
        assert is_ended(connection)


def test_a_refused_body_that_is_still_sent_does_not_reset_the_refusal(port: int) -> None:
    sent = post(b"x" * 90_000, "Connection: close", length=5_000_000)
    with connected(port) as connection:
        connection.sendall(sent)
        assert answer_on(connection).problem["type"] == "/problems/too-large"


def test_a_client_that_does_not_take_its_answers_is_dropped(port: int) -> None:
    page = b"GET /static-offline-docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: a\r\n\r\n"
    with connected(port) as connection:
        connection.sendall(page * 16)
        for _ in range(3):  # by the end of these the first has not moved for longer than it may
            with connected(port) as silent:
                assert is_ended(silent)
        received = all_on(connection)
    assert received.count(b"HTTP/1.1 200 OK") < 16


@pytest.mark.parametrize(
    "path", ["/livez", "/readyz", "/model", "/metrics", "/docs", "/openapi.json"]
)
def test_head_is_get_without_the_body(port: int, path: str) -> None:
    head, get = (
        exchanged(port, f"{method} {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode(), method=method)
        for method in ("HEAD", "GET")
    )
    assert head.status == get.status == 200
    assert head.headers["content-type"] == get.headers["content-type"]
    assert int(head.headers["content-length"]) > 0
    assert head.body == b""


def test_head_of_what_has_no_get_is_not_allowed(port: int) -> None:
    answer = exchanged(port, b"HEAD /detect HTTP/1.1\r\nHost: a\r\n\r\n", method="HEAD")
    assert (answer.status, answer.headers["allow"]) == (405, "POST")


def test_refusals_of_the_transport_are_logged_and_counted(server: ServerProcess, port: int) -> None:
    exchanged(port, b"garbage\r\n\r\n")
    assert 'event="no request"' in server.line_with("code=400 detail=")
    text = exchanged(port, b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n", method="GET").body.decode()
    assert 'fpn_requests_total{code="400",route="unmatched"}' in text


CROWD = {"FPN_MAX_CONNECTIONS": "4", "FPN_HEADER_TIMEOUT_S": "600", "FPN_KEEP_ALIVE_S": "600"}


@pytest.fixture(scope="module")
def crowded(tiny_path: Path) -> Iterator[int]:
    with serving(FPN_MODEL=str(tiny_path), **CROWD) as server:
        server.line_with("event=ready")
        yield server.port()


def test_the_connection_that_has_been_idle_longest_makes_room(crowded: int) -> None:
    with ExitStack() as stack:
        silent, used, other, last = (stack.enter_context(connected(crowded)) for _ in range(4))
        for connection in (used, other, last):
            connection.sendall(GET)
            assert answer_on(connection).status == 200
        fifth = stack.enter_context(connected(crowded))
        assert is_ended(silent)
        sixth = stack.enter_context(connected(crowded))
        assert is_ended(used)
        for connection in (fifth, sixth, other, last):
            connection.sendall(GET)
            assert answer_on(connection).status == 200


def test_silent_connections_use_up_no_descriptors_that_health_needs(tiny_path: Path) -> None:
    most = str(possible_connections(128))
    with (
        serving(FPN_MODEL=str(tiny_path), FPN_MAX_CONNECTIONS=most) as server,
        ExitStack() as stack,
    ):
        server.line_with("event=ready")
        port = server.port()
        resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (128, 128))
        for _ in range(150):
            stack.enter_context(connected(port))
        assert exchanged(port, GET).status == 200
        assert exchanged(port, post(IMAGE)).status == 200


def test_when_all_places_are_busy_only_the_servers_health_is_answered(crowded: int) -> None:
    begun = post(IMAGE, "Expect: 100-continue")[: -len(IMAGE)]
    with ExitStack() as stack:
        busy = [stack.enter_context(connected(crowded)) for _ in range(4)]
        for connection in busy:
            connection.sendall(begun)
            assert b"100 Continue" in connection.recv(1000)  # it is inside
        assert exchanged(crowded, GET).status == 200
        refused = exchanged(crowded, post(IMAGE))
        assert refused.problem["type"] == "/problems/overloaded"
        assert (refused.headers["connection"], refused.headers["retry-after"]) == ("close", "1")
        for connection in busy:
            connection.sendall(IMAGE)
            assert answer_on(connection).status == 200
        assert exchanged(crowded, post(IMAGE)).status == 200
