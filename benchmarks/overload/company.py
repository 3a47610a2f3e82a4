"""What one client's requests cost another's: `python -m benchmarks.overload.company`.

Short deadlines: 64 clients that want their answers within 30, 5 and 3 seconds. The engine must not work on what cannot
be there in time, so the answers a second should be the same. Who is refused comes again when Retry-After said, or 50 ms
later whatever it said: those take the cores of this machine from the engine, as many as there are, and so do their
clients, which run here, too. Large photographs: one client with small ones, alone and
beside eight with 12 megapixels each. Short work must not be held up by long. The server is that of this checkout, or
of another that PYTHONPATH names in `--ours`.
"""

import argparse
import asyncio
from itertools import product
from pathlib import Path
from statistics import median

from benchmarks.machine import this_machine
from benchmarks.overload.mix import detect_request, enlarged
from benchmarks.server.client import Load, closed_loop
from benchmarks.server.contenders import ours
from benchmarks.server.photographs import photographs
from benchmarks.server.serving import Serving, serving

CLIENTS = 64
DEADLINES_S = (30.0, 5.0, 3.0)
LARGE_CLIENTS = 8
# 4,000 x 3,000
LARGE_SHORT_SIDE = 3000


async def deadlines(server: Serving, images: list[bytes], seconds: float, rounds: int) -> str:
    """The table of answers a second by deadline, of clients of both kinds; rounds alternate."""
    rates: dict[tuple[bool, float], list[float]] = {}
    for _ in range(rounds):
        for deadline_s, patient in product(DEADLINES_S, (True, False)):
            requests = [detect_request(each, deadline_s, "interactive") for each in images]
            load = await closed_loop(server.port, requests, CLIENTS, seconds, patient)
            rates.setdefault((patient, deadline_s), []).append(load.images_per_s)
    rows = []
    for deadline_s in DEADLINES_S:
        cells = []
        for patient in (True, False):
            rate, longest = (median(rates[patient, each]) for each in (deadline_s, DEADLINES_S[0]))
            cells.append(f"{rate:.1f} | {rate / longest:.2f}")
        rows.append(f"| {deadline_s:g} s | {' | '.join(cells)} |")
    head = "| deadline | answers/s, who waits as told | ratio | who comes again at once | ratio |"
    return "\n".join([head, "|---|---|---|---|---|", *rows])


async def beside_large(server: Serving, images: list[bytes], seconds: float, rounds: int) -> str:
    """The table of a small photograph's latency, alone and beside large ones; rounds alternate."""
    small = [detect_request(each, 30, "interactive") for each in images]
    large = [detect_request(enlarged(images[0], LARGE_SHORT_SIDE), 30, "interactive")]
    alone, beside = list[Load](), list[Load]()
    for _ in range(rounds):
        alone.append(await closed_loop(server.port, small, 1, seconds))
        found, _ = await asyncio.gather(
            closed_loop(server.port, small, 1, seconds),
            closed_loop(server.port, large, LARGE_CLIENTS, seconds),
        )
        beside.append(found)
    rows = [
        f"| {name} | {1000 * median(each.percentile_s(50) for each in loads):.0f}"
        f" | {1000 * median(each.percentile_s(99) for each in loads):.0f} |"
        for name, loads in (("alone", alone), (f"beside {LARGE_CLIENTS} of 12 MP", beside))
    ]
    return "\n".join(["| a small photograph | p50, ms | p99, ms |", "|---|---|---|", *rows])


async def measured(server: Serving, images: list[bytes], options: argparse.Namespace) -> None:
    """Prints both tables."""
    await server.ready(detect_request(images[0], 30, "interactive"))
    for measure in (deadlines, beside_large):
        print(await measure(server, images, options.seconds, options.rounds), "\n", flush=True)


def main() -> None:
    """Prints the machine, the model and the tables."""
    options = _options()
    print(f"{this_machine()}\n{options.model}\n")
    variables = dict(each.split("=", 1) for each in options.ours)
    with serving(ours("ours", variables), options.model.resolve()) as server:
        asyncio.run(measured(server, photographs(options.images), options))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser("benchmarks.overload.company", description=__doc__)
    parser.add_argument("--model", type=Path, default=Path("deploy/models/default/model.onnx"))
    parser.add_argument("--images", type=Path, help="a folder of JPEGs; else scikit-image's")
    parser.add_argument("--seconds", type=float, default=8.0, help="of each cell")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ours", nargs="*", default=[], metavar="NAME=VALUE", help="environment")
    return parser.parse_args()


if __name__ == "__main__":
    main()
