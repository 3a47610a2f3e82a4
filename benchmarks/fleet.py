"""`python -m benchmarks.fleet`: a thousand replicas, simulated: queues, batches, refusals, and who is asked.

Nothing is served here. A replica is what the batcher does: it takes what waits, up to the largest batch, and is busy
for as long as such a batch was measured to take; past its places it refuses. Requests of one photograph come as a
Poisson process whose rate follows a trace. Whoever is refused does not ask another one: behind a proxy that does,
fewer would be lost.

Legend
    R  replicas     n  images of a batch     load  arrivals, as a part of what all replicas can do at their best
"""

import argparse
import heapq
import json
import random
import sys
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.engine.summary import table

# Seconds of a batch of 1, 4 and 8: int8 on two cores with VNNI, docs/results.md.
MEASURED_S = {1: 0.013, 4: 0.046, 8: 0.097}
PLACES = 64  # FPN_QUEUE_IMAGES
SLOWNESS = 2.0  # of a replica beside other work
POLICIES = ("random", "round robin", "two choices")
LOADS = (0.5, 0.8, 0.95, 1.2)
SIZES = (1, 2, 10, 100, 1000)
# A quiet beginning, a rush and a lull: parts of the mean rate, which they come back to.
RUSH = (0.8, 0.8, 1.6, 1.6, 0.6, 0.6)


@dataclass(frozen=True)
class Batches:
    """How long a batch takes: as measured, and in between on a straight line."""

    sizes: tuple[int, ...]
    seconds: tuple[float, ...]

    @classmethod
    def of(cls, measured: dict[int, float]) -> "Batches":
        """Of batch size -> seconds."""
        sizes = tuple(sorted(measured))
        return cls(sizes, tuple(measured[size] for size in sizes))

    @property
    def most(self) -> int:
        """The largest batch that was measured."""
        return self.sizes[-1]

    @property
    def best_rate(self) -> float:
        """The most images a second of one replica."""
        return max(n / s for n, s in zip(self.sizes, self.seconds, strict=True))

    def of_size(self, n: int) -> float:
        """Seconds of a batch of n."""
        right = bisect_left(self.sizes, n)
        if self.sizes[right] == n:
            return self.seconds[right]
        (n0, n1), (s0, s1) = self.sizes[right - 1 : right + 1], self.seconds[right - 1 : right + 1]
        return s0 + (s1 - s0) * (n - n0) / (n1 - n0)


@dataclass
class Replica:
    """A replica: how much longer it takes than one should; when each image that waits, or runs, came."""

    slowness: float = 1.0
    waiting: deque[float] = field(default_factory=deque)
    running: list[float] = field(default_factory=list)

    @property
    def inside(self) -> int:
        """How many images it has."""
        return len(self.waiting) + len(self.running)


@dataclass
class Outcome:
    """What came of a simulation: seconds of each answer, requests that were refused, and sizes of batches."""

    latencies_s: list[float] = field(default_factory=list)
    refused: int = 0
    batches: int = 0
    busy_s: float = 0.0

    def percentile_s(self, percent: float) -> float:
        """The seconds that so many percent of the answers took at most."""
        return sorted(self.latencies_s)[int(percent / 100 * (len(self.latencies_s) - 1))]


def arrivals(
    rate: float, seconds: float, trace: Sequence[float], rng: random.Random
) -> Iterator[float]:
    """When requests come: a Poisson process of `rate` on average, which follows `trace` in equal steps."""
    mean, now = sum(trace) / len(trace), 0.0
    most = max(trace) / mean * rate
    while True:
        now += rng.expovariate(most)
        if now >= seconds:
            return
        step = trace[int(now / seconds * len(trace))]
        # Thinning (Lewis and Shedler 1979): of a process of the highest rate, as many stay as the trace has here.
        if rng.random() * max(trace) < step:
            yield now


def chooser(policy: str, replicas: list[Replica], rng: random.Random) -> Callable[[], int]:
    """Who is asked next."""
    R, turn = len(replicas), iter(range(sys.maxsize))
    if policy == "random":
        return lambda: rng.randrange(R)
    if policy == "round robin":
        return lambda: next(turn) % R

    def two_choices() -> int:
        one, other = rng.randrange(R), rng.randrange(R)
        return one if replicas[one].inside <= replicas[other].inside else other

    return two_choices


def simulate(
    replicas: list[Replica],
    times_s: Iterator[float],
    batches: Batches,
    policy: str,
    rng: random.Random,
) -> Outcome:
    """What comes of requests at `times_s` to `replicas`."""
    outcome = Outcome()
    choose = chooser(policy, replicas, rng)
    ends: list[tuple[float, int]] = []

    def begin(place: int, now: float) -> None:
        replica = replicas[place]
        n = min(len(replica.waiting), batches.most)
        if n:
            replica.running = [replica.waiting.popleft() for _ in range(n)]
            taken_s = batches.of_size(n) * replica.slowness
            outcome.batches += 1
            outcome.busy_s += taken_s
            heapq.heappush(ends, (now + taken_s, place))

    def finish(until: float) -> None:
        while ends and ends[0][0] <= until:
            now, place = heapq.heappop(ends)
            outcome.latencies_s += [now - came for came in replicas[place].running]
            replicas[place].running = []
            begin(place, now)

    for now in times_s:
        finish(now)
        place = choose()
        if replicas[place].inside >= PLACES:
            outcome.refused += 1
            continue
        replicas[place].waiting.append(now)
        if not replicas[place].running:
            begin(place, now)
    finish(float("inf"))
    return outcome


def row(
    R: int, load: float, policy: str, batches: Batches, options: argparse.Namespace
) -> list[str]:
    """A row of the table."""
    rng = random.Random(options.seed)
    rate = load * R * batches.best_rate
    # Few replicas are looked at for longer, so that each row has about as many requests.
    seconds = min(options.most_seconds, options.requests / rate)
    trace = RUSH if options.rush else (1.0,)
    slow = round(options.slow * R)
    replicas = [Replica(SLOWNESS if place < slow else 1.0) for place in range(R)]
    times_s = arrivals(rate, seconds, trace, rng)
    outcome = simulate(replicas, times_s, batches, policy, rng)
    answered = len(outcome.latencies_s)
    return [
        *(f"{R:,}", f"{load:g}", policy, f"{rate:,.0f}"),
        *(f"{1000 * outcome.percentile_s(p):.0f}" for p in (50, 99)),
        f"{answered / outcome.batches:.1f}",
        f"{100 * outcome.refused / (answered + outcome.refused):.2f} %",
        f"{100 * min(1.0, outcome.busy_s / (R * seconds)):.0f} %",
    ]


def measured_in(file: Path, contender: str) -> dict[int, float]:
    """Batch size -> seconds of `contender`, of the JSON that `make gpu-check` wrote."""
    parts = json.loads(file.read_text(encoding="utf-8"))["parts"]
    rows = [each for part in parts for each in part["finding"]["figures"].get("rows", [])]
    return {
        each["batch"]: sorted(each["seconds"])[len(each["seconds"]) // 2]
        for each in rows
        if each["contender"] == contender and each["seconds"]
    }


def main(arguments: list[str] | None = None) -> int:
    """The exit status."""
    options = _parser().parse_args(arguments)
    measured = measured_in(options.measured, options.contender) if options.measured else MEASURED_S
    batches = Batches.of(measured)
    said = ", ".join(f"{n}: {s:.4f}" for n, s in sorted(measured.items()))
    slow = f" {100 * options.slow:g} % of the replicas take twice as long." if options.slow else ""
    rush = " The rate is 1.6 of its mean for a third of the time." if options.rush else ""
    print(f"Simulated, not served. Seconds of a batch as measured: {said}.", end=" ")
    print(f"{PLACES} places a replica.{slow}{rush}")
    rows = [
        row(R, load, policy, batches, options)
        for R in options.replicas
        for load in options.loads
        for policy in (POLICIES if R > 1 else POLICIES[:1])
    ]
    heads = (
        "R",
        "load",
        "who is asked",
        "requests/s",
        "p50 ms",
        "p99 ms",
        "images of a batch",
        "refused",
        "busy",
    )
    print(f"\n{table(heads, rows)}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m benchmarks.fleet", description=__doc__)
    parser.add_argument("--replicas", type=int, nargs="+", default=list(SIZES), metavar="R")
    parser.add_argument("--loads", type=float, nargs="+", default=list(LOADS), metavar="LOAD")
    parser.add_argument("--requests", type=int, default=200_000, help="of a row, about")
    parser.add_argument("--most-seconds", type=float, default=600.0, help="of a row, simulated")
    parser.add_argument(
        "--rush", action="store_true", help="the rate rises to 1.6 of its mean for a while"
    )
    parser.add_argument(
        "--slow", type=float, default=0.0, help="the part of replicas that take twice as long"
    )
    parser.add_argument(
        "--measured", type=Path, help="the JSON of make gpu-check, else docs/results.md"
    )
    parser.add_argument("--contender", default="ours, float16", help="of that JSON")
    parser.add_argument("--seed", type=int, default=0)
    return parser


if __name__ == "__main__":
    sys.exit(main())
