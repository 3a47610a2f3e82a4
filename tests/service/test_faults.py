"""Faults staged at a real server: signals under load, a full disk, a clock that jumps."""

import ast
import os
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import httpx
import psutil
import pytest

from tests.places import ROOT
from tests.service.images import png
from tests.service.process import TIME_LIMIT_S, serving

CLIENTS = 6


class Clients:
    """Threads that send one image after the other until told to stop, and count how each request ended."""

    def __init__(self, port: int) -> None:
        self.ended: Counter[str] = Counter()
        self._url = f"http://127.0.0.1:{port}/detect"
        self._over = threading.Event()
        self._answered = threading.Semaphore(0)
        self._threads = [threading.Thread(target=self._send) for _ in range(CLIENTS)]
        for thread in self._threads:
            thread.start()

    def _send(self) -> None:
        while not self._over.is_set():
            try:
                answer = httpx.post(self._url, files={"images": png(30, 40)}, timeout=TIME_LIMIT_S)
                self.ended[str(answer.status_code)] += 1
                self._answered.release()
            except httpx.ConnectError:
                self.ended["refused"] += 1
                return
            except httpx.TransportError:
                self.ended["closed"] += 1
                return

    def have_answers(self, count: int) -> None:
        """Returns once there are that many."""
        for _ in range(count):
            assert self._answered.acquire(timeout=TIME_LIMIT_S)

    def stop(self) -> None:
        """Ends them after the request that each is at."""
        self._over.set()
        for thread in self._threads:
            thread.join()


def test_sigterm_under_load_answers_what_is_inside_and_exits_well(tiny_path: Path) -> None:
    with serving(FPN_MODEL=str(tiny_path), FPN_DEVICE="cpu") as server:
        server.line_with("event=ready")
        clients = Clients(server.port())
        clients.have_answers(3 * CLIENTS)
        server.process.terminate()
        assert server.exit_code() == 0
        clients.stop()
    # A connection that the server had not yet taken up may be closed unanswered; a request inside may not.
    assert clients.ended["200"] >= 3 * CLIENTS
    assert set(clients.ended) <= {"200", "503", "refused", "closed"}
    assert not [line for line in server.log if "Traceback" in line]


def test_sigkill_under_load_leaves_no_process_behind(tiny_path: Path) -> None:
    with serving(FPN_MODEL=str(tiny_path), FPN_DEVICE="cpu") as server:
        server.line_with("event=ready")
        clients = Clients(server.port())
        clients.have_answers(CLIENTS)
        children = psutil.Process(server.process.pid).children()
        server.process.kill()
        assert server.exit_code() == -9
        clients.stop()
        assert children
        until = time.monotonic() + TIME_LIMIT_S
        while any(child.is_running() for child in children):
            assert time.monotonic() < until, children
            time.sleep(0.05)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a full disk is Linux's /dev/full")
def test_a_log_that_cannot_be_written_is_no_reason_not_to_answer(tiny_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    variables = {"FPN_MODEL": str(tiny_path), "FPN_DEVICE": "cpu", "FPN_HOST": "127.0.0.1"}
    environment = os.environ | variables | {"FPN_PORT": str(port)}
    # Buffered as by default: what is left in a buffer must not become an exit status.
    environment.pop("PYTHONUNBUFFERED", None)
    with open("/dev/full", "w") as full:
        process = subprocess.Popen(
            [sys.executable, "-m", "service"], cwd=ROOT, env=environment, stderr=full
        )
    try:
        until, status = time.monotonic() + TIME_LIMIT_S, 0
        while status != 200:
            assert process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.05)
            try:
                answer = httpx.post(f"http://127.0.0.1:{port}/detect", files={"images": png(9, 9)})
                status = answer.status_code
            except httpx.TransportError:
                continue
        process.terminate()
        assert process.wait(TIME_LIMIT_S) == 0
    finally:
        process.kill()
        process.wait()


def test_nothing_is_decided_by_a_clock_that_can_be_set() -> None:
    """The time of day is for log lines; whatever waits or expires goes by clocks that only run forward."""
    of_day = {"time.time", "datetime.now", "datetime.utcnow", "date.today", "time.time_ns"}
    found = []
    for path in sorted((ROOT / "service").rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        found += [
            f"{path.name}:{node.lineno}"
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and ast.unparse(node) in of_day
        ]
        found += [
            f"{path.name}:{node.lineno}"
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom)
            and node.module == "time"
            and {name.name for name in node.names} & {"time", "time_ns"}
        ]
    assert found == []
