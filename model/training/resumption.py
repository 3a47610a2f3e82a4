"""What may differ between a run and its resumption."""

from collections.abc import Iterator
from typing import Any

# Nothing here changes the loss of a step that was done.
FREE_KEYS = {
    "name",
    "checkpoint_every",
    "eval_every",
    "schedule.steps",
    "schedule.accumulate",  # but for rounding
    *(f"data.{key}" for key in ("root", "workers", "verify")),
    *(f"data.val_{key}" for key in ("annotations", "images", "proposals")),
    "data.train_proposals",  # their content counts, which is in the data's digest
}


def differences(then: dict[str, Any], now: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """What differs between two nested configurations, a line a key."""
    for key in then.keys() | now.keys():
        name, old, new = prefix + key, then.get(key), now.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            yield from differences(old, new, f"{name}.")
        elif old != new and name not in FREE_KEYS:
            yield f"{name} was {old}, is {new}"
