"""Scores beside how often they are right, on counts that can be checked by hand."""

from typing import Any

import pytest

from model.evaluation.calibration import Bin, calibration

CAT = 3
LEFT, RIGHT, NOWHERE = [0.0, 0.0, 30, 40], [120.0, 20, 60, 40], [60.0, 60, 20, 20]


def truth(*boxes: list[float], crowd: int = 0) -> dict[str, Any]:
    return {
        "images": [{"id": 1, "file_name": "a.png", "width": 200, "height": 100}],
        "categories": [{"id": CAT, "name": "cat"}],
        "annotations": [
            {"id": 40 + k, "image_id": 1, "category_id": CAT, "bbox": box, "iscrowd": crowd}
            for k, box in enumerate(boxes)
        ],
    }


def result(box: list[float], score: float) -> dict[str, Any]:
    return {"image_id": 1, "category_id": CAT, "bbox": box, "score": score}


def test_the_error_is_the_mean_distance_of_score_and_precision_by_detection() -> None:
    found = calibration(
        truth(LEFT, RIGHT), [result(LEFT, 0.72), result(NOWHERE, 0.78), result(RIGHT, 1.0)]
    )
    assert found.bins == [
        Bin(0.7, 0.8, 2, 0.75, 0.5),
        Bin(0.9, 1.0, 1, 1.0, 1.0),
    ]
    assert found.error == pytest.approx((2 * 0.25 + 0) / 3)
    assert found.rows()["0.7 to 0.8"] == {"detections": "2", "mean score": "75.0", "right": "50.0"}


def test_what_lies_on_a_crowd_counts_neither_way() -> None:
    found = calibration(truth(LEFT, crowd=1), [result(LEFT, 0.4), result(NOWHERE, 0.05)])
    assert [each.detections for each in found.bins] == [1]
    assert found.error == pytest.approx(0.05)


def test_without_detections_there_is_no_table() -> None:
    found = calibration(truth(LEFT), [])
    assert (found.rows(), found.as_json()) == ({}, None)
