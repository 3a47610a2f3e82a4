"""How many replicas Ray Serve is to have, by the age of the queue: a policy that knows nothing of Ray."""

import math
from collections.abc import Mapping
from typing import Any

AGE = "queue_age_s"
# The oldest photograph of a replica should wait no longer; below the lower one a replica may go.
HIGH_S, LOW_S = 0.5, 0.05
MOST_AT_ONCE = 2.0


def by_queue_age(context: Any) -> tuple[int, dict[str, Any]]:
    """The number of replicas that is wanted, and nothing to be remembered; `context` is Ray's AutoscalingContext.

    Ray itself waits `upscale_delay_s` and `downscale_delay_s` before it follows.
    """
    ages: Mapping[Any, float] = (context.aggregated_metrics or {}).get(AGE, {})
    busy = float(context.total_num_requests)
    return wanted(context.current_num_replicas, list(ages.values()), busy), {}


def wanted(replicas: int, ages_s: list[float], busy: float) -> int:
    """For so many replicas, the ages of their queues, and the requests inside all of them."""
    if not ages_s:
        return replicas
    oldest = max(ages_s)
    if oldest > HIGH_S:
        return math.ceil(replicas * min(MOST_AT_ONCE, oldest / HIGH_S))
    # One less would still have less than a request each.
    if oldest < LOW_S and busy < replicas - 1:
        return replicas - 1
    return replicas
