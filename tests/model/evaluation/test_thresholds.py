"""The thresholds of the best F1, on counts that can be checked by hand."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.evaluation.thresholds import OperatingPoint, best_f1, best_thresholds

CAT, DOG, BIRD = 3, 5, 9


def truth(*objects: tuple[int, list[float], int]) -> dict[str, Any]:
    """A document of one image with objects (category, box x y w h, iscrowd)."""
    return {
        "images": [{"id": 1, "file_name": "a.png", "width": 200, "height": 100}],
        "categories": [{"id": n, "name": f"class {n}"} for n in (BIRD, CAT, DOG)],
        "annotations": [
            {"id": 40 + k, "image_id": 1, "category_id": c, "bbox": box, "iscrowd": crowd}
            for k, (c, box, crowd) in enumerate(objects)
        ],
    }


def result(category: int, box: list[float], score: float) -> dict[str, Any]:
    return {"image_id": 1, "category_id": category, "bbox": box, "score": score}


LEFT, MIDDLE, RIGHT = [0.0, 0.0, 30, 40], [50.0, 10, 30, 40], [120.0, 20, 60, 40]


def test_the_threshold_is_where_f1_is_best() -> None:
    # Right at 0.9, wrong at 0.8, right at 0.7, wrong at 0.6; three objects. F1: 2/4, 2/5, 4/6, 4/7.
    scores, right = np.array([0.9, 0.8, 0.7, 0.6]), np.array([1, 0, 1, 0])
    assert best_f1(scores, right, 3) == OperatingPoint(0.7, round(2 / 3, 4), round(2 / 3, 4))


def test_of_equally_good_thresholds_the_highest_is_taken() -> None:
    # F1 is 2/2 of one object at 0.9; then, with two objects, 2/3 at 0.9 and 4/6 at 0.5.
    scores, right = np.array([0.9, 0.8, 0.7, 0.5]), np.array([1, 0, 0, 1])
    point = best_f1(scores, right, 2)
    assert point is not None
    assert point.score == 0.9


def test_detections_of_one_score_are_kept_or_left_out_together() -> None:
    scores, right = np.array([0.5, 0.5, 0.5]), np.array([1, 0, 0])
    assert best_f1(scores, right, 1) == OperatingPoint(0.5, round(1 / 3, 4), 1.0)


def test_a_class_of_which_nothing_is_found_has_no_threshold() -> None:
    assert best_f1(np.array([0.9]), np.array([0]), 2) is None
    assert best_f1(np.array([]), np.array([], np.int64), 0) is None


@given(st.lists(st.tuples(st.floats(0, 1, width=32), st.booleans()), min_size=1, max_size=30))
def test_precision_and_recall_are_those_at_the_threshold_as_it_is_rounded(
    detections: list[tuple[float, bool]],
) -> None:
    scores = np.array([score for score, _ in detections])
    right = np.array([int(good) for _, good in detections])
    point = best_f1(scores, right, objects=30)
    if point is None:
        assert not right.any()
        return
    kept = scores >= point.score
    assert kept.any()
    assert point.precision == pytest.approx(right[kept].mean(), abs=1e-4)
    assert point.recall == pytest.approx(right[kept].sum() / 30, abs=1e-4)


def test_each_class_has_its_own_and_all_have_one() -> None:
    document = truth((CAT, LEFT, 0), (CAT, MIDDLE, 0), (DOG, RIGHT, 0))
    results = [
        result(CAT, LEFT, 0.81239),
        result(CAT, RIGHT, 0.3),
        result(DOG, RIGHT, 0.6),
        result(DOG, LEFT, 0.2),
    ]
    found = best_thresholds(document, results)
    assert found.classes == {
        "class 3": OperatingPoint(0.8123, 1.0, 0.5),
        "class 5": OperatingPoint(0.6, 1.0, 1.0),
        "class 9": None,
    }
    assert found.every == OperatingPoint(0.6, 1.0, round(2 / 3, 4))


def test_an_object_is_found_once_and_only_by_a_box_of_enough_overlap() -> None:
    document = truth((CAT, LEFT, 0))
    half_off = [20.0, 0.0, 30, 40]
    results = [
        result(CAT, LEFT, 0.5),
        result(CAT, [1.0, 0, 30, 40], 0.9),
        result(CAT, half_off, 0.95),
    ]
    assert best_thresholds(document, results).every == OperatingPoint(0.9, 0.5, 1.0)


def test_what_lies_on_a_crowd_is_neither_right_nor_wrong() -> None:
    document = truth((CAT, RIGHT, 1), (CAT, LEFT, 0))
    results = [
        result(CAT, RIGHT, 0.9),
        result(CAT, [125.0, 25, 20, 20], 0.8),
        result(CAT, LEFT, 0.7),
    ]
    assert best_thresholds(document, results).every == OperatingPoint(0.7, 1.0, 1.0)


def test_without_a_detection_there_is_no_threshold() -> None:
    found = best_thresholds(truth((CAT, LEFT, 0)), [])
    assert found.every is None
    assert set(found.classes.values()) == {None}
    assert found.as_json() is None
