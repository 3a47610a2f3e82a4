"""How many cores this process may use, fewer than the machine has in a container or under taskset; and its memory."""

import math
import os
from pathlib import Path

# cgroup v2: "max 100000", or microseconds of CPU in a period of so many.
QUOTA = Path("/sys/fs/cgroup/cpu.max")
# proc(5): the second number is the pages that are resident.
PAGES = Path("/proc/self/statm")


def usable_cores(quota: Path = QUOTA) -> int:
    """The cores that the process may run on, and no more than its quota of time fills; 1 or more."""
    affine = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return int(max(1, min(affine or 1, _quota_cores(quota))))


def _quota_cores(quota: Path) -> float:
    try:
        allowed, period = quota.read_text(encoding="ascii").split()
        return math.inf if allowed == "max" else math.ceil(int(allowed) / int(period))
    except (OSError, ValueError, ZeroDivisionError):
        return math.inf


def resident_bytes() -> int:
    """What the process holds of the machine's memory; 0 where the system does not say."""
    try:
        return int(PAGES.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0
