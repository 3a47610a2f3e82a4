"""The ranges of activations, on numbers that can be checked by hand or by trying."""

import numpy as np
import pytest

from export.precision.ranges import FRACTIONS, STEPS, Values, best_range


def error(values: Values, low: float, high: float) -> float:
    """The mean squared error of uint8 with zero among its steps, one value after the other."""
    step = (high - low) / STEPS
    zero = round(-low / step)
    ints = [min(max(round(float(v) / step) + zero, 0), STEPS) for v in values]
    return float(
        np.mean([((i - zero) * step - float(v)) ** 2 for i, v in zip(ints, values, strict=True)])
    )


def test_values_that_fill_their_range_keep_all_of_it() -> None:
    values = np.linspace(-3, 5, 1000, dtype=np.float32)
    assert best_range(values) == (-3, 5)


def test_a_lone_outlier_is_cut_off_and_the_other_side_is_left() -> None:
    values = np.append(np.linspace(-1, 1, 50_000), 8).astype(np.float32)
    low, high = best_range(values)
    assert low == -1
    assert high < 8


@pytest.mark.parametrize("seed", range(3))
def test_no_other_range_that_is_tried_has_less_error(seed: int) -> None:
    values = np.random.default_rng(seed).standard_t(3, 300).astype(np.float32)
    low, high = best_range(values)
    least = error(values, low, high)
    ends = float(values.min()), float(values.max())
    assert all(error(values, ends[0] * f, ends[1] * f) >= least * 0.999 for f in FRACTIONS)


@pytest.mark.parametrize("value", [0.0, 2.5, -2.5])
def test_a_constant_is_represented(value: float) -> None:
    low, high = best_range(np.full(10, value, np.float32))
    assert low <= 0 <= high
    assert low <= value <= high


def test_a_range_always_holds_zero() -> None:
    low, high = best_range(np.linspace(4, 5, 100, dtype=np.float32))
    assert (low, high) == (0, 5)
