"""When requests of an open loop arrive: as those of many people who know nothing of each other."""

import random


def poisson_arrivals(rate: float, seconds: float, seed: int) -> list[float]:
    """The seconds, ascending, at which `rate` requests a second on average arrive within `seconds`.

    The same seed gives the same arrivals, so that every server meets the same ones.
    """
    generator = random.Random(seed)
    arrivals, now = [], generator.expovariate(rate)
    while now < seconds:
        arrivals.append(now)
        now += generator.expovariate(rate)
    return arrivals
