import math
from typing import Any

import numpy as np
import pytest

from model.evaluation.scoring import EVERY_AREA, IOU_50, IOU_75, mean_measured, or_none, score

CATEGORIES = [{"id": 9, "name": "cat"}, {"id": 2, "name": "dog"}]


def one_object(category_id: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """An object, and a detection of it with an IoU of 0.7."""
    of = {"image_id": 4, "category_id": category_id}
    truth = of | {"id": 1, "bbox": [10, 20, 50, 20], "area": 1000}
    images = [{"id": 4, "width": 640, "height": 400}]
    document = {"images": images, "annotations": [truth], "categories": CATEGORIES}
    return document, of | {"bbox": [10, 20, 50, 14], "score": 0.5}


def test_axes_are_thresholds_recalls_classes_areas_and_limits() -> None:
    ground_truth, result = one_object(9)
    precision, recall = score(ground_truth, [result], (1, 100, 1000))
    assert precision.shape == (10, 101, 2, 4, 3)
    assert recall.shape == (10, 2, 4, 3)


def test_a_detection_counts_up_to_the_threshold_that_it_overlaps_by() -> None:
    ground_truth, result = one_object(2)
    recall = score(ground_truth, [result]).recall
    assert (recall[IOU_50, 0, EVERY_AREA, 0], recall[IOU_75, 0, EVERY_AREA, 0]) == (1, 0)


@pytest.mark.parametrize(("by_class", "classes", "found"), [(True, 2, 0), (False, 1, 1)])
def test_a_detection_of_another_class_finds_the_object_only_if_classes_are_not_told_apart(
    by_class: bool, classes: int, found: float
) -> None:
    ground_truth, result = one_object(2)
    recall = score(ground_truth, [result | {"category_id": 9}], by_class=by_class).recall
    assert recall.shape[1] == classes
    assert recall[IOU_50, 0, EVERY_AREA, 0] == found


@pytest.mark.parametrize("key", ["image_id", "category_id"])
def test_a_result_of_something_unknown_is_refused(key: str) -> None:
    ground_truth, result = one_object(9)
    with pytest.raises(ValueError, match=rf"{key} that is not in the ground truth: \[77\]"):
        score(ground_truth, [result | {key: 77}])


def test_what_could_not_be_measured_is_in_no_mean_and_null_in_json() -> None:
    assert mean_measured(np.array([[0.5, -1.0], [0.0, -1.0]])) == 0.25
    assert math.isnan(mean_measured(np.array([-1.0])))
    assert (or_none(0.5), or_none(math.nan)) == (0.5, None)
