"""The decoding process by itself: its orders, what it imports, and that it does not outlive the server."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from service.pictures.worker import Orders
from tests.places import ROOT

# Says which processes decode, one of them an image that takes minutes, and waits for its end.
SERVER = """
import asyncio
from math import inf
from pathlib import Path
from service.artifact.manifest import ResizeRule
from service.pictures.framing import Framing
from service.pictures.pool import DecodingLimits, DecodingPool
from tests.service.images import endless_jpeg, png

async def main():
    rule = ResizeRule(short_side=8, max_side=8, rounding="round", interpolation="bilinear", decoding="whole")
    pool = DecodingPool(Framing(rule, [(8, 8)], 50_000_000), DecodingLimits(2, 2**30, inf))
    await asyncio.gather(*[pool.frame(png(n, 9), inf) for n in range(9, 29)])
    busy = asyncio.create_task(pool.frame(endless_jpeg(), inf))
    await asyncio.sleep(0.1)
    print(*[process.pid for process in pool._processes], flush=True)
    await busy

asyncio.run(main())
"""


def test_orders_are_read_as_they_were_given() -> None:
    frames = [(320, 448), (448, 320)]
    orders = Orders(3, 4, 99, 2**30, 320, 576, "round", "bilinear", "reduced", frames, 10**6)
    assert Orders.read(orders.as_json()) == orders


def test_a_process_imports_nothing_of_the_server() -> None:
    script = "import sys, service.pictures.worker; print(*sys.modules)"
    loaded = subprocess.check_output([sys.executable, "-c", script], cwd=ROOT, text=True).split()
    assert "service.pictures.decoding" in loaded
    heavy = {"asyncio", "fastapi", "onnxruntime", "pydantic", "service.settings", "uvicorn"}
    assert heavy & set(loaded) == set()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere it ends after its image")
def test_no_process_outlives_a_server_that_is_killed() -> None:
    server = subprocess.Popen([sys.executable, "-c", SERVER], cwd=ROOT, stdout=subprocess.PIPE)
    with server:
        assert server.stdout is not None
        pids = [int(pid) for pid in server.stdout.readline().split()]
        assert len(pids) == 2
        assert all(is_at_work(pid) for pid in pids)
        server.kill()
    until_s = time.monotonic() + 60
    while any(is_at_work(pid) for pid in pids):
        assert time.monotonic() < until_s
        os.sched_yield()


def is_at_work(pid: int) -> bool:
    """Whether the process is one of ours and has not ended, waited for or not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        return (
            state != "Z" and b"service.pictures.worker" in Path(f"/proc/{pid}/cmdline").read_bytes()
        )
    except (FileNotFoundError, ProcessLookupError):
        return False
