"""What waits for a batch, and what of it comes next.

Two lanes, each in order of arrival: bulk has its turn when nothing interactive waits. A batch is of one lane and of one
key, which the oldest item chooses; so no key can starve another.
"""

import asyncio
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from time import perf_counter
from typing import Generic, Literal, TypeVar

from service.errors import DeadlineExceeded
from service.pace import Pace

Key = TypeVar("Key", bound=Hashable)
Item = TypeVar("Item")
Answer = TypeVar("Answer")
Lane = Literal["interactive", "bulk"]


@dataclass(frozen=True, eq=False)
class Entry(Generic[Key, Item, Answer]):
    """An item that waits or runs.

    Attributes:
        deadline: in the event loop's time.
        arrived: by perf_counter.
        company: that it came into (`Cores.company`).
        answer: what its sender waits for.
    """

    key: Key
    item: Item
    deadline: float
    arrived: float
    company: int
    answer: "asyncio.Future[Answer]"

    def is_live(self, now: float) -> bool:
        """Whether anybody still waits for the answer."""
        return not self.answer.done() and self.deadline > now

    def fail(self, error: Exception) -> None:
        """Answers with `error`, unless it has been answered."""
        if not self.answer.done():
            self.answer.set_exception(error)


class Waiting(Generic[Key, Item, Answer]):
    """The entries that wait."""

    def __init__(self) -> None:
        # In the order of their right of way; each in order of arrival.
        self._lanes: dict[Lane, dict[Entry[Key, Item, Answer], None]] = {
            "interactive": {},
            "bulk": {},
        }

    def __len__(self) -> int:
        """How many wait."""
        return sum(map(len, self._lanes.values()))

    def __iter__(self) -> Iterator[Entry[Key, Item, Answer]]:
        """All of them, in the order in which they come next."""
        return chain.from_iterable(self._lanes.values())

    @property
    def oldest_age_s(self) -> float:
        """Seconds that the oldest has waited; 0 when none waits."""
        arrived = [entry.arrived for lane in self._lanes.values() for entry in islice(lane, 1)]
        return perf_counter() - min(arrived) if arrived else 0.0

    def add(self, entry: Entry[Key, Item, Answer], lane: Lane) -> None:
        """Puts it at the end of its lane."""
        self._lanes[lane][entry] = None

    def discard(self, entry: Entry[Key, Item, Answer]) -> None:
        """Takes it out, if it is there."""
        for lane in self._lanes.values():
            lane.pop(entry, None)

    def drop_late(self, now: float, pace: Pace[Key]) -> None:
        """Takes out what is cancelled or expired, and what would be late unless all would be.

        Were all of it dropped nothing would run, and the pace that says so would never be put right.
        """
        live = [entry for entry in self if entry.is_live(now)]
        in_time = {entry for entry in live if now + pace.run_s(entry.key) <= entry.deadline}
        for entry in list(self):
            if entry in in_time or (not in_time and entry in live):
                continue
            self.discard(entry)
            entry.fail(DeadlineExceeded("the answer would not be there in time"))

    def next_batch(self, most: int) -> list[Entry[Key, Item, Answer]]:
        """The oldest entry of the first lane that has any, and those of its key behind it, up to `most`.

        Something must wait.
        """
        lane = next(lane for lane in self._lanes.values() if lane)
        oldest = next(iter(lane))
        return list(islice((entry for entry in lane if entry.key == oldest.key), most))
