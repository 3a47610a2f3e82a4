"""`python -m benchmarks.replicas`: what two replicas of one core each do beside one, on this machine.

They take turns, round by round, so that what disturbs the machine disturbs both. Two on two cores share memory, caches
and the client's part of the cores: their efficiency is a lower bound for two on hosts of their own.
"""

import argparse
import asyncio
import sys
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from benchmarks.machine import this_machine
from benchmarks.server.client import closed_loop
from benchmarks.server.contenders import Contender, ours
from benchmarks.server.photographs import photographs
from benchmarks.server.serving import Serving, serving

CONNECTIONS = 8
ONE_CORE = {"FPN_DEVICE": "cpu", "FPN_THREADS": "1", "FPN_RUNNERS": "1", "FPN_DECODE_WORKERS": "1"}


async def rate(servers: list[Serving], requests: list[bytes], seconds: float) -> float:
    """Images a second of all `servers` together, each with CONNECTIONS clients."""
    loads = await asyncio.gather(
        *(closed_loop(server.port, requests, CONNECTIONS, seconds) for server in servers)
    )
    return sum(load.images_per_s for load in loads)


async def ready(servers: list[Serving], requests: list[bytes]) -> None:
    """Returns when each has answered."""
    for server in servers:
        await server.ready(requests[0])


def main(arguments: list[str] | None = None) -> int:
    """The exit status."""
    parser = argparse.ArgumentParser("python -m benchmarks.replicas", description=__doc__)
    parser.add_argument("--model", type=Path, default=Path("deploy/models/default/model-int8.onnx"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10.0)
    options = parser.parse_args(arguments)
    contender: Contender = ours("ours", ONE_CORE)
    requests = [contender.request(each) for each in photographs(None)]
    ones, twos = [], []
    with ExitStack() as stack:
        both = [stack.enter_context(serving(contender, options.model.resolve())) for _ in "ab"]
        asyncio.run(ready(both, requests))
        for _ in range(options.rounds):
            ones.append(asyncio.run(rate(both[:1], requests, options.seconds)))
            twos.append(asyncio.run(rate(both, requests, options.seconds)))
            print(f"one {ones[-1]:.1f}, two {twos[-1]:.1f} images/s", flush=True)
    efficiency = median(two / (2 * one) for one, two in zip(ones, twos, strict=True))
    print(
        f"{this_machine()}: one replica of one core {median(ones):.1f} images/s, two {median(twos):.1f}:"
        f" {100 * efficiency:.0f} % each of what one does alone"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
