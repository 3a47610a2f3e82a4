"""Who races: our server with any settings, and each peer as its own documentation starts it and tuned.

Tuned for latency is one worker with all cores and no batches; tuned for throughput is a worker of one thread for every
core, since two runs of one thread use two cores better than one run of two.
"""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.server.work import PeerSettings

ROOT = Path(__file__).parents[2]
PEERS_PYTHON = ROOT / ".venv-peers" / "bin" / "python"
OURS = "ours"
PEAK_OF = "mosec, tuned for throughput"
BOUNDARY = "a-boundary-that-is-in-no-photograph"
# What they would otherwise send to their makers, and how mosec is told where to listen.
PEER_VARIABLES = {
    "BENTOML_DO_NOT_TRACK": "True",
    "RAY_USAGE_STATS_ENABLED": "0",
    "MOSEC_ADDRESS": "127.0.0.1",
}
LONGER_TIMEOUT = {"MOSEC_TIMEOUT": "30000"}  # milliseconds, as our own; its default is 3 s


@dataclass(frozen=True)
class Contender:
    """A server to be started.

    Attributes:
        name: as the tables have it.
        python: the interpreter of its environment.
        command: the interpreter's arguments; `{port}` stands for the port.
        path: of the endpoint.
        part: of the form that carries the photograph; empty where the body is the photograph.
        workers: of a peer.
        threads: of each one's session; 0 leaves it to ONNX Runtime.
        tuned: whether a peer is.
        variables: more of its environment.
    """

    name: str
    python: Path
    command: tuple[str, ...]
    path: str
    part: str = ""
    workers: int = 1
    threads: int = 0
    tuned: bool = False
    variables: Mapping[str, str] = field(default_factory=dict)

    def environment(self, model: Path, port: int) -> dict[str, str]:
        """All variables that its process gets."""
        peer = PeerSettings(model, port, self.workers, self.threads, self.tuned)
        ours = {"FPN_MODEL": str(model), "FPN_HOST": "127.0.0.1", "FPN_PORT": str(port)}
        own = ours if self.command == ("-m", "service") else peer.as_environment()
        return (
            dict(os.environ)
            # Unbuffered, or the last line of a log need not be the last that was said.
            | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "MOSEC_PORT": str(port)}
            | own
            | dict(self.variables)
        )

    def request(self, photograph: bytes) -> bytes:
        """The bytes of a request that carries the photograph."""
        kind, body = "image/jpeg", photograph
        if self.part:
            kind, body = f"multipart/form-data; boundary={BOUNDARY}", _form(self.part, photograph)
        head = f"POST {self.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {kind}\r\n"
        return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def ours(name: str, variables: Mapping[str, str]) -> Contender:
    """Our server with `variables` in its environment; PYTHONPATH names another checkout of it."""
    return Contender(
        name, Path(sys.executable), ("-m", "service"), "/detect?proposals=0", variables=variables
    )


def peers(python: Path, cores: int) -> list[Contender]:
    """All peers, in the environment of `python`."""

    def both(
        name: str, command: tuple[str, ...], path: str, part: str = ""
    ) -> tuple[Contender, Contender]:
        documented = Contender(
            f"{name}, as documented", python, command, path, part, variables=PEER_VARIABLES
        )
        tuned = Contender(
            f"{name}, tuned for throughput", python, command, path, part, cores, 1, True,
            PEER_VARIABLES | LONGER_TIMEOUT,
        )  # fmt: skip
        return documented, tuned

    def module(name: str) -> tuple[str, ...]:
        return "-m", f"benchmarks.server.{name}_peer"

    mosec, mosec_throughput = both("mosec", module("mosec"), "/inference")
    mosec_latency = Contender(
        "mosec, tuned for latency", python, module("mosec"), "/inference", threads=cores, tuned=True,
        variables=PEER_VARIABLES | LONGER_TIMEOUT,
    )  # fmt: skip
    serve = ("-m", "bentoml", "serve", "benchmarks.server.bentoml_peer:Detect")
    return [
        mosec,
        mosec_latency,
        mosec_throughput,
        *both("LitServe", module("litserve"), "/predict", "image"),
        *both("BentoML", (*serve, "--host", "127.0.0.1", "--port", "{port}"), "/detect", "images"),
        *both("Ray Serve", module("ray"), "/"),
    ]


def _form(part: str, photograph: bytes) -> bytes:
    head = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{part}"; filename="photograph.jpg"\r\n'
        "Content-Type: image/jpeg\r\n\r\n"
    )
    return head.encode() + photograph + f"\r\n--{BOUNDARY}--\r\n".encode()
