"""`make load`: our server at several times its capacity, with damage, hang-ups, slow uploads and bulk among it.

Starts the server of this checkout on a free port of this host, measures what it does undisturbed, then sends several
times as much for a while, and looks at /livez all along. Prints how every request ended, and each promise with its
figures. The exit status is 1 when one was not kept.
"""

import argparse
import asyncio
import sys
from pathlib import Path
from statistics import linear_regression
from time import perf_counter

from benchmarks.machine import this_machine
from benchmarks.overload.clients import send, watch_livez
from benchmarks.overload.mix import Mix, Sent
from benchmarks.overload.outcomes import Tally, table, verdicts
from benchmarks.server.arrivals import poisson_arrivals
from benchmarks.server.client import closed_loop
from benchmarks.server.contenders import ours
from benchmarks.server.photographs import photographs
from benchmarks.server.serving import Serving, serving

CONNECTIONS = 8
SECONDS_OF_CAPACITY = 10.0


async def overload(server: Serving, mix: Mix, options: argparse.Namespace) -> bool:
    """Measures the capacity, then overloads; prints what came of it. Whether every promise was kept."""
    await server.ready(mix.good())
    good = [mix.good() for _ in range(100)]
    undisturbed = await closed_loop(server.port, good, CONNECTIONS, SECONDS_OF_CAPACITY)
    capacity = undisturbed.images_per_s
    rate = options.times * capacity
    print(f"capacity {capacity:.1f} images/s; now {rate:.0f} requests/s for {options.seconds:g} s")
    tally, over, began = Tally(), asyncio.Event(), perf_counter()
    looks = [
        asyncio.create_task(watch_livez(server.port, tally, over)),
        asyncio.create_task(_weigh(server, tally, over)),
    ]
    async with asyncio.TaskGroup() as group:
        for arrival_s in poisson_arrivals(rate, options.seconds, options.seed):
            await asyncio.sleep(began + arrival_s - perf_counter())
            group.create_task(send(server.port, mix.draw(), options.timeout_s, tally))
        await asyncio.sleep(began + options.seconds - perf_counter())
        goodput = tally.count("200") / options.seconds
    over.set()
    await asyncio.gather(*looks)
    print(f"\n{table(tally)}\n\n{_growth(tally)}")
    found = verdicts(tally, goodput, capacity, options.timeout_s)
    for sentence, kept in found.items():
        print(f"{'ok  ' if kept else 'FAIL'}  {sentence}")
    await send(server.port, Sent("interactive", mix.good()), options.timeout_s, tally)
    return all(found.values())


async def _weigh(server: Serving, tally: Tally, over: asyncio.Event) -> None:
    while not over.is_set():
        tally.resident_bytes.append(server.memory().rss_bytes)
        await asyncio.sleep(1)


def _growth(tally: Tally) -> str:
    held = [each / 1e6 for each in tally.resident_bytes]
    # The first half fills buffers and pools.
    late = held[len(held) // 2 :]
    slope = linear_regression(range(len(late)), late).slope if len(late) > 1 else 0.0
    return (
        f"memory: {held[0]:.0f} MB at first, {max(held):.0f} MB at most, {held[-1]:.0f} MB at last;"
        f" in the second half {60 * slope:+.1f} MB a minute"
    )


def main() -> int:
    """The exit status."""
    options = _options()
    mix = Mix(photographs(options.images), options.timeout_s, options.seed)
    print(f"{this_machine()}\n{options.model}")
    with serving(ours("ours", {}), options.model.resolve()) as server:
        return 0 if asyncio.run(overload(server, mix, options)) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser("benchmarks.overload", description=__doc__)
    parser.add_argument("--model", type=Path, default=Path("deploy/models/default/model-int8.onnx"))
    parser.add_argument(
        "--images", type=Path, help="a folder of JPEGs; else scikit-image's photographs"
    )
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--times", type=float, default=4.0, help="of the capacity (default: 4)")
    parser.add_argument("--timeout-s", type=float, default=5.0, help="that requests name")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
