import asyncio
import os
import sys
import time
from pathlib import Path

import pytest

from benchmarks.server.contenders import BOUNDARY, Contender, ours, peers
from benchmarks.server.processes import descendants
from benchmarks.server.serving import NotServing, serving
from benchmarks.server.work import PeerSettings

MODEL = Path("m.onnx")
# A child that ignores what ends its parent, and writes down its own number.
STUBBORN = """
import os, signal, subprocess, sys, time
child = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(300)"
started = subprocess.Popen([sys.executable, "-c", child], stdout=subprocess.PIPE, start_new_session=True)
started.stdout.readline()
open(os.environ["NUMBERS"], "w").write(f"{os.getpid()} {started.pid}")
time.sleep(300)
"""


def script(text: str, **variables: str) -> Contender:
    return Contender("a script", Path(sys.executable), ("-c", text), "/", variables=variables)


def test_a_server_that_ends_says_its_last_line() -> None:
    with (
        serving(script("import sys; print('first'); sys.exit('no such model')"), MODEL) as server,
        pytest.raises(NotServing, match="status 1: no such model"),
    ):
        asyncio.run(server.ready(b""))


def test_a_peer_that_is_not_installed_says_so() -> None:
    missing = Contender("a peer", Path("/no/such/python"), ("-c", ""), "/")
    with pytest.raises(NotServing, match="not installed"), serving(missing, MODEL):
        pass


def test_a_server_is_weighed_and_ended_with_all_that_it_started(tmp_path: Path) -> None:
    numbers = tmp_path / "numbers"
    with serving(script(STUBBORN, NUMBERS=str(numbers)), MODEL) as server:
        while not numbers.exists() or not numbers.read_text():
            time.sleep(0.01)
        parent, child = map(int, numbers.read_text().split())
        assert set(descendants(parent)) == {parent, child}
        memory = server.memory()
        assert memory.rss_bytes > memory.pss_bytes > 2 * 2**20
    for pid in (parent, child):
        assert not Path(f"/proc/{pid}").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text()


def test_requests_carry_the_photograph_whole() -> None:
    for contender in (ours("ours", {}), *peers(Path("python"), 2)):
        head, _, body = contender.request(b"\xff\xd8 photograph").partition(b"\r\n\r\n")
        assert f"Content-Length: {len(body)}".encode() in head
        assert head.startswith(f"POST {contender.path} HTTP/1.1\r\n".encode())
        if contender.part:
            assert BOUNDARY.encode() in head
            assert f'name="{contender.part}"'.encode() in body
            assert b"\r\n\r\n\xff\xd8 photograph\r\n--" in body
        else:
            assert body == b"\xff\xd8 photograph"


def test_a_peer_reads_what_it_was_started_with(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = PeerSettings(MODEL, 8123, workers=3, threads=1, tuned=True)
    for name, value in settings.as_environment().items():
        monkeypatch.setenv(name, value)
    assert PeerSettings.from_environment() == settings


def test_settings_of_ours_are_passed_through(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FPN_MAX_BATCH", "4")
    environment = ours("ours, one thread", {"FPN_THREADS": "1"}).environment(MODEL, 8123)
    assert {name: environment[name] for name in ("FPN_MAX_BATCH", "FPN_THREADS", "FPN_PORT")} == {
        "FPN_MAX_BATCH": "4", "FPN_THREADS": "1", "FPN_PORT": "8123"
    }  # fmt: skip
    assert os.environ["FPN_MAX_BATCH"] == "4"
