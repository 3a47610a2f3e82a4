import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.server.arrivals import poisson_arrivals


@given(st.integers(0, 2**32), st.floats(0.5, 200), st.floats(0.1, 10))
def test_the_same_seed_gives_the_same_arrivals(seed: int, rate: float, seconds: float) -> None:
    arrivals = poisson_arrivals(rate, seconds, seed)
    assert arrivals == poisson_arrivals(rate, seconds, seed)
    assert arrivals == sorted(arrivals)
    assert all(0 < each < seconds for each in arrivals)


def test_another_seed_gives_others() -> None:
    assert poisson_arrivals(40, 3, 1) != poisson_arrivals(40, 3, 2)


def test_gaps_are_as_those_of_strangers() -> None:
    arrivals = poisson_arrivals(50, 400, 7)
    gaps = [after - before for before, after in zip(arrivals, arrivals[1:], strict=False)]
    assert len(arrivals) / 400 == pytest.approx(50, rel=0.03)
    # Of exponential gaps, a share of 1/e is longer than the mean.
    assert sum(gap > 1 / 50 for gap in gaps) / len(gaps) == pytest.approx(0.368, abs=0.02)
