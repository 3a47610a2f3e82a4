from typing import Any

from model.evaluation.confusion import confusion

TRUTH: dict[str, Any] = {
    "categories": [{"id": 7, "name": "dog"}, {"id": 3, "name": "cat"}],
    "annotations": [
        {"image_id": 1, "category_id": 3, "bbox": [0, 0, 10, 10]},
        {"image_id": 1, "category_id": 7, "bbox": [20, 0, 10, 20]},
        {"image_id": 2, "category_id": 7, "bbox": [0, 0, 10, 10]},
        {"image_id": 2, "category_id": 7, "bbox": [0, 0, 99, 99], "iscrowd": 1},
    ],
}


def found(image_id: int, category_id: int, bbox: list[float], score: float) -> dict[str, Any]:
    return {"image_id": image_id, "category_id": category_id, "bbox": bbox, "score": score}


def test_each_object_is_counted_under_what_it_was_taken_for() -> None:
    results = [
        found(1, 3, [0, 0, 10, 9], 0.9),  # right
        found(1, 3, [20, 0, 10, 19], 0.8),  # the dog
        found(1, 7, [20, 0, 10, 20], 0.7),  # on an object that is taken
        found(2, 7, [50, 50, 5, 5], 0.6),  # nothing there
        found(2, 7, [0, 0, 10, 10], 0.1),  # below the threshold: missed
    ]
    # rows and columns: cat, dog, nothing
    assert confusion(TRUTH, results, 0.5).tolist() == [[1, 0, 0], [1, 0, 1], [0, 2, 0]]


def test_without_detections_everything_is_missed() -> None:
    assert confusion(TRUTH, [], 0.5).tolist() == [[0, 0, 1], [0, 0, 2], [0, 0, 0]]
