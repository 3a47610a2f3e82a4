"""Kinds of errors and what they cost, on boxes that can be checked by hand."""

from typing import Any

import numpy as np
import pytest

from model.evaluation.detection_metrics import coco_metrics
from model.evaluation.errors import KINDS, error_kinds

CAT, DOG = 3, 5
BOX = [20.0, 20.0, 40.0, 40.0]
# Overlaps of it: 0.6, 0.25 and 0.02.
NEAR, OFF, FAR = [30.0, 20.0, 40.0, 40.0], [44.0, 20.0, 40.0, 40.0], [58.0, 20.0, 40.0, 40.0]
ELSEWHERE = [120.0, 40.0, 30.0, 30.0]


def truth(*objects: tuple[int, list[float], int]) -> dict[str, Any]:
    """A document of one image with objects (category, box x y w h, iscrowd)."""
    return {
        "images": [{"id": 1, "file_name": "a.png", "width": 200, "height": 100}],
        "categories": [{"id": n, "name": f"class {n}"} for n in (CAT, DOG)],
        "annotations": [
            {"id": 40 + k, "image_id": 1, "category_id": c, "bbox": box, "iscrowd": crowd}
            for k, (c, box, crowd) in enumerate(objects)
        ],
    }


def result(category: int, box: list[float], score: float) -> dict[str, Any]:
    return {"image_id": 1, "category_id": category, "bbox": box, "score": score}


def counts(document: dict[str, Any], *results: dict[str, Any]) -> dict[str, int]:
    """How many errors there are, of the kinds that there are."""
    kinds = error_kinds(document, results)
    assert tuple(kinds) == KINDS
    return {kind: found.count for kind, found in kinds.items() if found.count}


@pytest.mark.parametrize(
    ("category", "box", "expected"),
    [
        (CAT, NEAR, {}),
        (DOG, NEAR, {"class": 1}),
        (CAT, OFF, {"place": 1}),
        (DOG, OFF, {"class+place": 1, "missed": 1}),
        (CAT, FAR, {"background": 1, "missed": 1}),
    ],
)
def test_one_detection_of_one_object_has_one_error_at_most(
    category: int, box: list[float], expected: dict[str, int]
) -> None:
    assert counts(truth((CAT, BOX, 0)), result(category, box, 0.9)) == expected


def test_what_has_been_found_better_is_a_duplicate() -> None:
    assert counts(truth((CAT, BOX, 0)), result(CAT, NEAR, 0.4), result(CAT, BOX, 0.9)) == {
        "duplicate": 1
    }


def test_what_lies_on_a_crowd_is_no_error_and_a_crowd_is_not_missed() -> None:
    assert counts(truth((CAT, BOX, 1)), result(CAT, NEAR, 0.4)) == {}


def test_without_detections_everything_is_missed_and_would_be_asked_for_no_more() -> None:
    kinds = error_kinds(truth((CAT, BOX, 0), (DOG, ELSEWHERE, 0)), [])
    assert kinds["missed"].count == 2
    assert kinds["background"].count == 0


def test_each_kind_costs_what_its_oracle_would_gain() -> None:
    # Of the cats one is found, one missed: AP is 51 of 101 precisions of 1. The dog is taken for a cat: AP 0.
    document = truth((CAT, BOX, 0), (CAT, [20.0, 70.0, 20.0, 20.0], 0), (DOG, ELSEWHERE, 0))
    kinds = error_kinds(document, [result(CAT, BOX, 0.9), result(CAT, ELSEWHERE, 0.8)])
    half = 51 / 101
    assert kinds["class"].count == kinds["missed"].count == 1
    # Put right, the dog's AP is 1.
    assert kinds["class"].cost == pytest.approx((half + 1) / 2 - half / 2)
    assert kinds["missed"].cost == pytest.approx(1 / 2 - half / 2)
    assert kinds["place"].cost == kinds["background"].cost == 0


def test_an_error_of_class_on_an_object_that_is_found_is_only_taken_away() -> None:
    document = truth((CAT, BOX, 0), (DOG, ELSEWHERE, 0))
    results = [result(DOG, BOX, 0.9), result(CAT, BOX, 0.8), result(DOG, ELSEWHERE, 0.7)]
    kinds = error_kinds(document, results)
    # The dogs' precision is 1/2 where the dog is found; without the wrong one it is 1.
    assert kinds["class"].cost == pytest.approx((1 + 1) / 2 - (1 + 0.5) / 2)


def test_of_two_that_could_be_put_right_the_better_is() -> None:
    results = [result(CAT, OFF, 0.6), result(CAT, [44.0, 21.0, 40.0, 40.0], 0.5)]
    kinds = error_kinds(truth((CAT, BOX, 0)), results)
    assert kinds["place"].count == 2
    assert kinds["place"].cost == pytest.approx(1)


def test_the_price_is_of_the_ap50_that_coco_measures() -> None:
    draws = np.random.default_rng(4)
    # Objects in the upper half of six images, each found at some score; some detections in the lower half, on nothing.
    document = truth(*((int(draws.choice([CAT, DOG])), BOX, 0) for _ in range(30)))
    document["images"] = [{**document["images"][0], "id": n} for n in range(6)]
    for place, each in enumerate(document["annotations"]):
        each["image_id"], each["bbox"] = place % 6, [35.0 * (place // 6), 5.0, 30.0, 30.0]
    found = [
        {**{k: each[k] for k in ("image_id", "category_id", "bbox")}, "score": draws.uniform()}
        for each in document["annotations"][:25]
    ]
    on_nothing = [
        {**each, "bbox": [9.0, 60.0, 30.0, 30.0], "score": draws.uniform()} for each in found
    ]
    kinds = error_kinds(document, found + on_nothing)
    whole, without = (coco_metrics(document, r).AP50 for r in (found + on_nothing, found))
    assert 0 < whole < without < 1
    assert kinds["background"].count == 25
    assert kinds["background"].cost == pytest.approx(without - whole)
