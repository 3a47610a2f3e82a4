"""How long photographs wait for the cores, wide, narrow, or as the server shares them: `python -m benchmarks.widths`.

A simulation of one server on paper: Poisson arrivals, the service's own `Cores` and its rule of company, and run times
from a speed-up law with measured ends. It shows what no machine at hand can: sixteen cores. Decoding and HTTP are left
out. `--wide-s` and `--narrow-s` are the seconds of a run on all cores and on one, as `/model` shows them.
"""

import argparse
import heapq
import math
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median, quantiles

from service.engine.layouts import Cores, Layout, layouts_for

ARRIVALS = 20_000
LOADS = (0.1, 0.5, 0.8, 0.95)


@dataclass(frozen=True)
class Speed:
    """Seconds of a run: on one core, and on all `cores` of them; in between a power of the number of threads."""

    cores: int
    wide_s: float
    narrow_s: float

    def run_s(self, layout: Layout) -> float:
        """Seconds of a run of `layout`."""
        if self.cores == 1:
            return self.narrow_s
        power = math.log(self.narrow_s / self.wide_s) / math.log(self.cores)
        return float(self.narrow_s / layout.threads**power)

    def peak(self, layouts: Sequence[Layout]) -> float:
        """The most photographs a second."""
        return max(layout.runs / self.run_s(layout) for layout in layouts)


def latencies(
    layouts: Sequence[Layout], run_s: Callable[[Layout], float], rate: float, seed: int = 0
) -> list[float]:
    """Seconds from arrival to answer of `ARRIVALS` photographs that come at `rate` a second."""
    draws, cores = random.Random(seed), Cores(layouts)
    arrival_s, found = 0.0, list[float]()
    arrivals = deque(arrival_s := arrival_s + draws.expovariate(rate) for _ in range(ARRIVALS))
    waiting, running = deque[tuple[float, int]](), list[tuple[float, int, Layout]]()
    while arrivals or running:
        if arrivals and (not running or arrivals[0] <= running[0][0]):
            now_s = arrivals.popleft()
            waiting.append((now_s, cores.company(len(waiting) + len(running) + 1)))
        else:
            now_s, _, ended = heapq.heappop(running)
            cores.release(ended)
        while waiting:
            layout = cores.claim(max(len(waiting) + len(running), waiting[0][1]))
            if layout is None:
                break
            came_s, _ = waiting.popleft()
            end_s = now_s + run_s(layout)
            heapq.heappush(running, (end_s, len(found), layout))
            found.append(end_s - came_s)
    return found


def main() -> None:
    """Prints a table: a row for each load, for each way to share the cores p50 and p99."""
    options = _options()
    speed = Speed(options.cores, options.wide_s, options.narrow_s)
    all_of_them = layouts_for(options.cores, 0, batch=1)
    ways = {"wide": all_of_them[:1], "narrow": all_of_them[-1:], "both": all_of_them}
    peak = speed.peak(all_of_them)
    print(f"{options.cores} cores, runs of {speed.wide_s} s wide and {speed.narrow_s} s narrow")
    print(f"most photographs a second: wide {speed.peak(ways['wide']):.1f}, narrow {peak:.1f}\n")
    print("| load of the peak | " + " | ".join(f"{name}: p50, p99, ms" for name in ways) + " |")
    print("|---|" + "---|" * len(ways))
    for load in LOADS:
        cells = [_cell(way, speed, load * peak) for way in ways.values()]
        print(f"| {load:.0%} | " + " | ".join(cells) + " |")


def _cell(layouts: Sequence[Layout], speed: Speed, rate: float) -> str:
    if rate >= speed.peak(layouts):
        return "does not keep up"
    found = latencies(layouts, speed.run_s, rate)
    return f"{1000 * median(found):.0f}, {1000 * quantiles(found, n=100)[-1]:.0f}"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser("benchmarks.widths", description=__doc__)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--wide-s", type=float, default=0.0255)
    parser.add_argument("--narrow-s", type=float, default=0.0415)
    return parser.parse_args()


if __name__ == "__main__":
    main()
