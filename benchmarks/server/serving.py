"""A server as a process of its own: started on a free port, awaited, weighed, and ended with all that it started."""

import asyncio
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.server.client import ask
from benchmarks.server.connection import connect
from benchmarks.server.contenders import Contender
from benchmarks.server.processes import PROC, began_at, descendants

READY_S = 90.0  # Ray Serve needs most of a minute on a busy machine
GRACE_S = 10.0
WRONG = (400, 405, 415, 422)  # the request is


class NotServing(RuntimeError):
    """A server that does not start or answer; one line says why."""


@dataclass(frozen=True)
class Memory:
    """What a server and all that it started hold: resident pages, and these with shared ones divided by their users."""

    rss_bytes: int
    pss_bytes: int


class Serving:
    """A server that answers."""

    def __init__(self, process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
        self.port = port
        self.pid = process.pid
        self._process = process
        self._log = log

    async def ready(self, request: bytes) -> None:
        """Returns when `request` is answered.

        Raises:
            NotServing: it ended, or does not answer in time.
        """
        until = time.monotonic() + READY_S
        reply = None
        while time.monotonic() < until:
            if self._process.poll() is not None:
                raise NotServing(f"ended with status {self._process.returncode}: {self._last()}")
            connection = await connect(self.port)
            reply = await ask(connection, request)
            connection.close()
            if reply.good:
                return
            if reply.status in WRONG:
                break  # that will not change
            await asyncio.sleep(0.2)
        said = f"status {reply.status}" if reply is not None and reply.status else "nothing"
        raise NotServing(f"answered with {said}: {self._last()}")

    def memory(self) -> Memory:
        """What it holds now."""
        pages, shared = 0, 0
        for pid in descendants(self._process.pid):
            try:
                pages += int((PROC / str(pid) / "statm").read_text().split()[1])
                lines = (PROC / str(pid) / "smaps_rollup").read_text().splitlines()
            except OSError:
                continue  # ended meanwhile
            shared += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
        return Memory(pages * os.sysconf("SC_PAGE_SIZE"), shared * 1024)

    def stop(self) -> None:
        """Ends it, and what it leaves behind."""
        began = {pid: began_at(pid) for pid in descendants(self._process.pid)}
        self._process.terminate()
        try:
            self._process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        # A number that was given to another process meanwhile has another beginning.
        left = [pid for pid, at in began.items() if at is not None and began_at(pid) == at]
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        until = time.monotonic() + GRACE_S
        while any(began_at(pid) == began[pid] for pid in left) and time.monotonic() < until:
            time.sleep(0.01)  # the next server is to have the machine for itself

    def _last(self) -> str:
        lines = self._log.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"


@contextmanager
def serving(contender: Contender, model: Path) -> Iterator[Serving]:
    """The contender's server of `model`, not yet ready; ended at the end.

    Raises:
        NotServing: there is no such interpreter.
    """
    if not contender.python.exists():
        raise NotServing(f"not installed: {contender.python} is not there")
    port = free_port()
    words = [word.replace("{port}", str(port)) for word in contender.command]
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                [str(contender.python), *words],
                cwd=folder,
                env=contender.environment(model, port),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
            )
        server = Serving(process, port, log)
        try:
            yield server
        finally:
            server.stop()


def free_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
