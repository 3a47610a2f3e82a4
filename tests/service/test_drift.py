"""Drift: the distance of what is seen from a reference, and when there is none."""

from math import isnan
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.artifact.manifest import Manifest
from service.artifact.tensors import Outputs
from service.drift import Drift, distance, enough
from service.errors import InvalidSettings
from tests.service.tiny_model import MANIFEST

WINDOW = 40
REFERENCE: dict[str, Any] = {
    "images": 100,
    "least_score": 0.3,
    # of cat, dog and bird
    "scores": {"edges": [0.3, 0.6, 1.0], "counts": [[10, 30], [0, 0], [20, 20]]},
    "detections": {"edges": [0, 1, 3], "counts": [20, 80]},
    "levels": [0, 40, 40, 0, 0],
    "sizes": {"edges": [0, 100, 200], "counts": [50, 50]},
}
Found = tuple[float, int, int]  # score, label, level


def drift(images: int = WINDOW, **changes: Any) -> Drift:
    values = {**MANIFEST, "reference": {**REFERENCE, **changes}}
    manifest = Manifest.model_validate(values, strict=False)
    assert manifest.reference is not None
    return Drift(manifest.reference, manifest, images)


def outputs(*found: Found) -> Outputs:
    """Those of an image with these detections, best first, and room for a few more."""
    rows = [*found, *[(0.0, 0, 0)] * 3]
    scores, labels, levels = (np.array(column) for column in zip(*rows, strict=True))
    values: dict[str, Any] = dict.fromkeys(Outputs.__dataclass_fields__, np.zeros(0))
    values |= {"scores": scores.astype(np.float32), "labels": labels, "levels": levels}
    return Outputs(**{**values, "counts": np.int64(len(found))})


histograms = st.lists(st.integers(0, 1000), min_size=4, max_size=4).map(np.array)


@given(histograms, histograms)
def test_a_distance_is_from_0_to_1_whichever_side_it_is_seen_from(one: Any, other: Any) -> None:
    there, back = distance(one, other), distance(other, one)
    if min(one.sum(), other.sum()) < enough(4):
        assert isnan(there) or isnan(back)
    else:
        assert there == pytest.approx(back)
        assert 0 <= there <= 1


@pytest.mark.parametrize(
    ("seen", "expected", "apart"),
    [
        ([30, 60, 90], [1, 2, 3], 0.0),
        ([100, 0, 0], [0, 3, 5], 1.0),
        # m = (3/4, 1/4): KL(p, m) = log2(4/3), KL(q, m) = (log2(2/3) + log2(2)) / 2, half their sum 0.3113
        ([100, 0], [50, 50], 0.5579),
    ],
)
def test_a_distance_is_that_of_jensen_and_shannon(
    seen: list[int], expected: list[int], apart: float
) -> None:
    assert distance(np.array(seen), np.array(expected)) == pytest.approx(apart, abs=1e-4)


def test_counts_that_are_enough_are_by_chance_about_a_tenth_away() -> None:
    draw, expected = np.random.default_rng(0), np.array([10, 20, 30, 40, 50, 60, 70, 80])
    shares = expected / expected.sum()
    distances = [distance(draw.multinomial(enough(8), shares), expected) for _ in range(200)]
    assert np.sqrt(np.mean(np.square(distances))) == pytest.approx(0.1, abs=0.02)


def test_there_is_no_distance_of_too_little_nor_from_nothing() -> None:
    most = enough(2) - 1
    assert isnan(distance(np.array([most, 0]), np.array([1, 1])))
    assert not isnan(distance(np.array([most + 1, 0]), np.array([1, 1])))
    assert isnan(distance(np.array([most + 1, 0]), np.array([0, 0])))


def test_what_is_seen_as_in_validation_is_no_distance_away() -> None:
    seen = drift(100)
    pairs = [((0.7, 0, 3), (0.5, 2, 4)), ((0.7, 0, 3), (0.8, 2, 4))]
    for index in range(100):
        # a fifth of the images is empty; of cats a quarter is unsure
        one, other = pairs[index % 2]
        sure = (0.4, 0, 3) if index % 4 == 1 and index % 5 else one
        seen.observe(outputs(*((sure, other) if index % 5 else ())), (50, 50 + 450 * (index % 2)))
    distances = seen.distances()
    assert distances["detections", ""] == pytest.approx(0, abs=1e-6)
    assert distances["levels", ""] == pytest.approx(0, abs=1e-6)
    assert distances["sizes", ""] == pytest.approx(0, abs=1e-6)
    assert distances["scores", "cat"] < 0.05
    assert distances["scores", ""] < 0.1
    assert isnan(distances["scores", "dog"])


@pytest.mark.parametrize(
    ("changed", "found", "original"),
    [
        (("scores", "cat"), [(0.4, 0, 3), (0.4, 0, 4)], (100, 100)),
        (("levels", ""), [(0.7, 0, 2), (0.7, 0, 2)], (100, 100)),
        (("detections", ""), [], (100, 100)),
        (("sizes", ""), [(0.7, 0, 3), (0.7, 0, 4)], (1000, 10)),
    ],
)
def test_what_is_seen_otherwise_shows_in_its_own_measure(
    changed: tuple[str, str], found: list[Found], original: tuple[int, int]
) -> None:
    usual, unusual = drift(), drift()
    for index in range(WINDOW):
        size = (100, 100 - 80 * (index % 2))
        usual.observe(outputs((0.7, 0, 3), (0.7, 0, 4)), size)
        unusual.observe(outputs(*found), size if original == (100, 100) else original)
    assert unusual.distances()[changed] > usual.distances()[changed] + 0.2


def test_detections_below_the_references_least_score_do_not_count() -> None:
    seen = drift()
    for _ in range(WINDOW):
        seen.observe(outputs((0.29, 0, 3), (0.1, 0, 3)), (100, 100))
    distances = seen.distances()
    assert isnan(distances["levels", ""])
    assert distances["detections", ""] == pytest.approx(
        distance(np.array([99, 0]), np.array([20, 80]))
    )


def test_only_the_last_images_count() -> None:
    seen, fresh = drift(), drift()
    for _ in range(WINDOW):
        seen.observe(outputs((0.9, 2, 2)), (900, 900))
    for _ in range(WINDOW):
        for each in (seen, fresh):
            each.observe(outputs((0.7, 0, 3), (0.4, 2, 4)), (50, 60))
    assert seen.distances() == pytest.approx(fresh.distances(), nan_ok=True)


def test_a_window_in_which_chance_would_be_told_is_refused() -> None:
    with pytest.raises(
        InvalidSettings, match="FPN_DRIFT_IMAGES: expected 0, or at least 19: .* got 18"
    ):
        drift(18)


def test_values_outside_the_bins_are_in_the_first_or_the_last() -> None:
    outside, inside = drift(), drift()
    for _ in range(WINDOW):
        outside.observe(outputs(*[(0.7, 0, 3)] * 9), (1, 1))
        inside.observe(outputs(*[(0.7, 0, 3)] * 2), (99, 99))
    for measure in (("sizes", ""), ("detections", "")):
        assert outside.distances()[measure] == inside.distances()[measure] > 0
