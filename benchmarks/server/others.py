"""How much of the machine others took meanwhile: a measurement beside them is one of them."""

import os
import time
from pathlib import Path
from typing import Self

from benchmarks.server.processes import descendants, stat_of

STAT = Path("/proc/stat")
IDLE = (3, 4)  # columns of /proc/stat: idle, and waiting for a disk
GUESTS = (8, 9)  # are in the user's already
TICKS = os.sysconf("SC_CLK_TCK")


class Others:
    """While the `with` block runs; then `cores` says how many others took, also those that a hypervisor withheld.

    This process is no other, nor are those that it started.
    """

    def __init__(self) -> None:
        self.cores = 0.0

    def __enter__(self) -> Self:
        """Itself."""
        self._began, self._all, self._own = time.monotonic(), _all_ticks(), own_ticks()
        return self

    def __exit__(self, *_: object) -> None:
        """Count."""
        ticks = _all_ticks() - self._all - (own_ticks() - self._own)
        self.cores = max(0.0, ticks / TICKS / (time.monotonic() - self._began))


def own_ticks() -> int:
    """The ticks of this process and of those that it started, so far."""
    fields = filter(None, map(stat_of, descendants(os.getpid())))
    # In user and kernel, of each itself and of its children that have ended.
    return sum(int(each) for of_one in fields for each in of_one[11:15])


def _all_ticks() -> int:
    columns = STAT.read_text().splitlines()[0].split()[1:]
    return sum(int(each) for place, each in enumerate(columns) if place not in IDLE + GUESTS)
