"""How long runs take, as they have lately: to see what will be late before it is begun.

An exponential average for each kind of item, kept as the runs end. Nothing is known before the first.
"""

from collections.abc import Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
# What a new run counts against all before it: half of an average is of the last three.
WEIGHT = 0.2


class Pace(Generic[Key]):
    """Seconds of a run by key, and what an item adds for those behind it."""

    def __init__(self) -> None:
        self._run_s: dict[Key, float] = {}
        self._item_s: float | None = None

    def note(self, key: Key, run_s: float, items: int) -> None:
        """A run took `run_s`, and in that time as many as `items` can be done, by all runs that go on at once."""
        self._run_s[key] = _averaged(self._run_s.get(key), run_s)
        self._item_s = _averaged(self._item_s, run_s / items)

    def run_s(self, key: Key) -> float:
        """Seconds that a run takes; 0 while nothing is known of `key`."""
        return self._run_s.get(key, 0.0)

    @property
    def mean_item_s(self) -> float:
        """Seconds that an item adds for those behind it, whatever keys there were; 0 while nothing is known."""
        return self._item_s or 0.0


def _averaged(before: float | None, now: float) -> float:
    return now if before is None else before + WEIGHT * (now - before)
