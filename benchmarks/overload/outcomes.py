"""What became of every request, and whether that is what the server promises."""

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from benchmarks.overload.mix import SHARES, Kind

Outcome = Literal["200", "4xx", "503", "504", "500", "closed", "left", "hung", "malformed"]
COLUMNS: tuple[Outcome, ...] = (
    "200", "4xx", "503", "504", "500", "closed", "left", "hung", "malformed",
)  # fmt: skip
# What a server never does, whatever it is sent.
NEVER: tuple[Outcome, ...] = ("500", "hung", "malformed")
LEAST_GOODPUT = 0.95
LONGEST_LIVEZ_S = 0.2


@dataclass
class Tally:
    """What came of a load.

    Attributes:
        outcomes: how many of each kind ended how.
        answer_s: seconds of those that were answered with detections.
        livez_s: seconds of each look at /livez; infinite where it did not answer 200.
        resident_bytes: of the server's processes, once a second.
    """

    outcomes: Counter[tuple[Kind, Outcome]] = field(default_factory=Counter)
    answer_s: list[float] = field(default_factory=list)
    livez_s: list[float] = field(default_factory=list)
    resident_bytes: list[int] = field(default_factory=list)

    def count(self, outcome: Outcome) -> int:
        """How many ended so, of all kinds."""
        return sum(n for (_, ended), n in self.outcomes.items() if ended == outcome)


def outcome_of(status: int, body: bytes) -> Outcome:
    """What an answer is: well-formed, and of which class."""
    try:
        content = json.loads(body)
    except ValueError:
        return "malformed"
    if status == 200:
        return "200" if content.get("images") else "malformed"
    if content.get("status") != status or not content.get("title"):
        return "malformed"
    if status in (503, 429):
        return "503"
    if status == 504:
        return "504"
    return "4xx" if 400 <= status < 500 else "500"


def percentile(values: Sequence[float], percent: float) -> float:
    """The value that so many percent are at most; not a number of nothing."""
    if not values:
        return math.nan
    return sorted(values)[max(0, math.ceil(percent / 100 * len(values)) - 1)]


def table(tally: Tally) -> str:
    """A row for each kind of request."""
    rows = ["| kind | " + " | ".join(COLUMNS) + " |", "|---|" + "---|" * len(COLUMNS)]
    for kind in SHARES:
        cells = [str(tally.outcomes[kind, column]) for column in COLUMNS]
        rows.append(f"| {kind} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def verdicts(tally: Tally, goodput: float, capacity: float, timeout_s: float) -> dict[str, bool]:
    """Each promise in a sentence with its figures, and whether it was kept."""
    never = sum(map(tally.count, NEVER))
    answer_s, livez_s = percentile(tally.answer_s, 99), percentile(tally.livez_s, 99)
    return {
        f"every request got a well-formed answer or a closed connection: {never} did not": never
        == 0,
        f"goodput {goodput:.1f} images/s of {capacity:.1f} without the load: {goodput / capacity:.2f},"
        f" at least {LEAST_GOODPUT}": goodput >= LEAST_GOODPUT * capacity,
        f"p99 of what was answered {answer_s:.2f} s, at most {timeout_s:g} s": answer_s
        <= timeout_s,
        f"p99 of /livez {livez_s:.3f} s, at most {LONGEST_LIVEZ_S} s": livez_s <= LONGEST_LIVEZ_S,
    }
