"""torchrun on this machine: its command, up to the configuration."""

import socket
import sys

_RUN = [sys.executable, "-m", "torch.distributed.run"]
LAUNCHER = [
    *_RUN, "--nproc-per-node", "2", "--master-addr", "127.0.0.1", "--master-port", "0",
    "--rdzv-backend", "c10d", "--rdzv-endpoint", "127.0.0.1:0", "-m", "model.train",
]  # fmt: skip


def node(rank: int, port: int) -> list[str]:
    """One of two nodes, of a process each, that meet at `port`."""
    return [
        *_RUN, "--nnodes", "2", "--node-rank", str(rank), "--nproc-per-node", "1",
        "--master-addr", "127.0.0.1", "--master-port", str(port), "-m", "model.train",
    ]  # fmt: skip


def free_port() -> int:
    """One that nobody listens on."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])
