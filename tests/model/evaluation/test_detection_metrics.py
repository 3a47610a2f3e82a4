import contextlib
import io
import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from model.evaluation.detection_metrics import Metrics, coco_metrics, format_table

Json = dict[str, Any]

# In no order, with gaps; the last has neither ground truth nor detections.
CATEGORIES: list[Json] = [
    {"id": 9, "name": "cat"},
    {"id": 2, "name": "dog"},
    {"id": 5, "name": "cow"},
    {"id": 11, "name": "emu"},
]
WIDTH, HEIGHT = 640, 400


def random_set(seed: int) -> tuple[Json, list[Json]]:
    """Ground truth of all sizes with crowds, and detections: some near, some far, scores tied."""
    rng = np.random.default_rng(seed)
    images = [{"id": int(i), "width": WIDTH, "height": HEIGHT} for i in rng.permutation(12) * 3]
    annotations: list[Json] = []
    results: list[Json] = []
    for number in range(90):
        image_id = images[rng.integers(len(images))]["id"]
        category_id = int(rng.choice([9, 2, 5]))
        w, h = np.exp(rng.uniform(np.log(8), np.log(250), 2))
        x, y = rng.uniform(0, WIDTH - w), rng.uniform(0, HEIGHT - h)
        annotations.append(
            {
                "id": number,
                "image_id": image_id,
                "category_id": category_id,
                "bbox": [x, y, w, h],
                "area": w * h * rng.uniform(0.5, 1),
                "iscrowd": int(rng.random() < 0.15),
            }
        )
        for _ in range(rng.integers(4)):
            shift = rng.normal(0, 0.1, 4) * [w, h, w, h]
            bbox = (np.array([x, y, w, h]) + shift).clip(0.5).tolist()
            wrong = rng.random() < 0.1
            results.append(
                {
                    "image_id": image_id,
                    "category_id": int(rng.choice([9, 2, 5])) if wrong else category_id,
                    "bbox": bbox,
                    "score": round(float(rng.random()), 1),
                }
            )
    return {"images": images, "annotations": annotations, "categories": CATEGORIES}, results


def reference(ground_truth: Json, results: list[Json]) -> tuple[list[float], dict[str, float]]:
    """What pycocotools says: its twelve figures, and AP by class; -1 made NaN."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        # pycocotools too takes id 0 for "not found"
        annotations = [a | {"id": a["id"] + 1} for a in ground_truth["annotations"]]
        truth.dataset = ground_truth | {"annotations": annotations}
        truth.createIndex()
        found = COCO()
        found.dataset = truth.dataset | {
            "annotations": [
                r | {"id": i, "area": r["bbox"][2] * r["bbox"][3], "iscrowd": 0}
                for i, r in enumerate(results, start=1)
            ]
        }
        found.createIndex()
        evaluation = COCOeval(truth, found, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    names: dict[int, str] = {category["id"]: category["name"] for category in CATEGORIES}
    by_class: dict[str, float] = {}
    for place, category_id in enumerate(evaluation.params.catIds):
        values = evaluation.eval["precision"][:, :, place, 0, -1]
        measured = values[values > -1]
        by_class[names[category_id]] = float(measured.mean()) if measured.size else math.nan
    return [math.nan if s == -1 else float(s) for s in evaluation.stats], by_class


def assert_equals_reference(ground_truth: Json, results: list[Json]) -> None:
    metrics = coco_metrics(ground_truth, results)
    stats, by_class = reference(ground_truth, results)
    np.testing.assert_allclose(list(metrics.summary().values()), stats, rtol=0, atol=1e-9)
    assert metrics.ap_per_class.keys() == by_class.keys()
    for name, value in by_class.items():
        np.testing.assert_allclose(metrics.ap_per_class[name], value, rtol=0, atol=1e-9)


@settings(max_examples=20)
@given(seed=st.integers(0, 10_000))
def test_all_figures_equal_those_of_pycocotools(seed: int) -> None:
    assert_equals_reference(*random_set(seed))


def test_the_comparison_is_not_of_trivial_figures() -> None:
    metrics = coco_metrics(*random_set(0))
    assert all(0.02 < value < 0.98 for value in metrics.summary().values())


def test_without_detections_the_figures_are_zero_as_in_pycocotools() -> None:
    ground_truth, _ = random_set(1)
    assert_equals_reference(ground_truth, [])
    assert set(coco_metrics(ground_truth, []).summary().values()) == {0.0}


def one_object(w: float = 50, h: float = 20, **more: object) -> tuple[Json, Json]:
    """A cat, and a perfect detection of it."""
    bbox = [10, 20, w, h]
    truth = {"id": 1, "image_id": 4, "category_id": 9, "bbox": bbox, "area": w * h} | more
    ground_truth = {
        "images": [{"id": 4, "width": WIDTH, "height": HEIGHT}],
        "annotations": [truth],
        "categories": CATEGORIES,
    }
    return ground_truth, {"image_id": 4, "category_id": 9, "bbox": bbox, "score": 0.5}


def test_a_class_without_ground_truth_is_nan_and_in_no_mean() -> None:
    ground_truth, result = one_object()
    metrics = coco_metrics(ground_truth, [result, result | {"category_id": 2}])
    assert metrics.summary()["AP"] == pytest.approx(1)
    assert metrics.ap50_per_class["cat"] == pytest.approx(1)
    assert math.isnan(metrics.ap_per_class["dog"])
    assert math.isnan(metrics.ap50_per_class["dog"])


def test_a_size_without_objects_is_nan() -> None:
    ground_truth, result = one_object(w=50, h=20)  # 1000 square pixels: small
    metrics = coco_metrics(ground_truth, [result])
    assert metrics.APs == pytest.approx(1)
    assert math.isnan(metrics.APm)
    assert math.isnan(metrics.ARl)


def test_an_annotation_numbered_zero_can_be_found() -> None:
    ground_truth, result = one_object(id=0)
    assert coco_metrics(ground_truth, [result]).ap_per_class["cat"] == pytest.approx(1)


def test_ground_truth_without_areas_and_crowd_flags_is_measured_by_its_boxes() -> None:
    ground_truth, result = one_object()
    del ground_truth["annotations"][0]["area"]
    assert coco_metrics(ground_truth, [result]).APs == pytest.approx(1)


def test_nothing_that_is_passed_in_is_changed() -> None:
    ground_truth, results = random_set(3)
    before = json.dumps([ground_truth, results])
    coco_metrics(ground_truth, results)
    assert json.dumps([ground_truth, results]) == before


def test_boxes_are_counted_by_class_without_crowds() -> None:
    ground_truth, _ = random_set(4)
    counts = coco_metrics(ground_truth, []).boxes_per_class
    real = [a["category_id"] for a in ground_truth["annotations"] if not a["iscrowd"]]
    assert counts == {
        "dog": real.count(2),
        "cow": real.count(5),
        "cat": real.count(9),
        "emu": 0,
    }


def metrics_of_one_object() -> Metrics:
    ground_truth, result = one_object()
    return coco_metrics(ground_truth, [result])


def test_scalars_leave_out_what_is_undefined() -> None:
    scalars = metrics_of_one_object().scalars()
    assert scalars == pytest.approx(
        dict.fromkeys(("AP", "AP50", "AP75", "APs", "AR1", "AR10", "AR100", "ARs"), 1.0)
        | {"AP/cat": 1.0, "AP50/cat": 1.0}
    )


def test_json_has_null_for_what_is_undefined() -> None:
    values = json.loads(json.dumps(metrics_of_one_object().as_json(), allow_nan=False))
    assert values["APm"] is None
    assert values["AP"] == pytest.approx(1)
    assert values["classes"]["dog"] == {"AP": None, "AP50": None, "boxes": 0}
    assert values["classes"]["cat"]["boxes"] == 1


def test_the_table_is_in_percent_with_a_line_a_class() -> None:
    head, figures, _, columns, *classes = format_table(metrics_of_one_object()).splitlines()
    assert head.split()[:6] == ["AP", "AP50", "AP75", "APs", "APm", "APl"]
    assert figures.split()[:6] == ["100.0", "100.0", "100.0", "100.0", "-", "-"]
    assert columns.split() == ["class", "AP", "AP50", "boxes"]
    assert [line.split() for line in classes] == [
        ["dog", "-", "-", "0"],
        ["cow", "-", "-", "0"],
        ["cat", "100.0", "100.0", "1"],
        ["emu", "-", "-", "0"],
    ]
