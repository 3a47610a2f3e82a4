import os
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from tests.places import ROOT


class Answers(BaseHTTPRequestHandler):
    """200 at /livez, 503 elsewhere."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/livez" else 503)
        self.end_headers()
        self.wfile.write(b"warming up")

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def port() -> Iterator[int]:
    with HTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def probe(path: str, port: int) -> subprocess.CompletedProcess[str]:
    elsewhere = "http://127.0.0.1:1"  # where nothing listens
    return subprocess.run(
        [sys.executable, "deploy/probe.py", path],
        cwd=ROOT,
        env=os.environ | {"FPN_PORT": str(port), "http_proxy": elsewhere},
        capture_output=True,
        text=True,
    )


def test_a_server_that_answers_200_is_healthy_whatever_the_proxy(port: int) -> None:
    assert probe("/livez", port).returncode == 0


def test_a_server_that_answers_503_is_not_and_the_reason_is_kept(port: int) -> None:
    done = probe("/readyz", port)
    assert (done.returncode, done.stdout) == (1, "503 warming up\n")


def test_a_server_that_does_not_listen_is_not_healthy_and_no_traceback_says_so() -> None:
    done = probe("/livez", 1)
    assert (done.returncode, done.stderr) == (1, "")
    assert "refused" in done.stdout
