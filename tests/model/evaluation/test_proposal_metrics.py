import contextlib
import io
import json
import math
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from model.evaluation.proposal_metrics import ProposalMetrics, level_metrics, proposal_metrics

Json = dict[str, Any]

CATEGORIES: list[Json] = [{"id": 9, "name": "cat"}, {"id": 2, "name": "dog"}]
WIDTH, HEIGHT = 640, 400


def random_set(seed: int, images: int, proposals: int) -> tuple[Json, list[Json]]:
    """Ground truth of all sizes, some of it crowds, and as many proposals an image, near and far."""
    rng = np.random.default_rng(seed)
    annotations: list[Json] = []
    found: list[Json] = []
    for image_id in range(10, 10 + images):
        for _ in range(8):
            w, h = np.exp(rng.uniform(np.log(12), np.log(250), 2))
            bbox = [rng.uniform(0, WIDTH - w), rng.uniform(0, HEIGHT - h), w, h]
            annotation = {"id": len(annotations) + 1, "image_id": image_id, "bbox": bbox}
            annotation |= {
                "category_id": int(rng.choice([9, 2])),
                "iscrowd": int(rng.random() < 0.2),
            }
            annotations.append(annotation | {"area": w * h * rng.uniform(0.4, 1)})
        for _ in range(proposals):
            x, y, w, h = annotations[-rng.integers(1, 9)]["bbox"]
            shift = rng.normal(0, rng.choice([0.05, 0.3, 1.0]), 4) * [w, h, w, h]
            bbox = (np.array([x, y, w, h]) + shift).clip(0.5).tolist()
            found.append({"image_id": image_id, "bbox": bbox, "score": float(rng.random())})
    sizes = [{"id": i, "width": WIDTH, "height": HEIGHT} for i in range(10, 10 + images)]
    return {"images": sizes, "annotations": annotations, "categories": CATEGORIES}, found


def reference(ground_truth: Json, proposals: list[Json]) -> list[float]:
    """What pycocotools says with the paper's settings: AR@100, AR@1k, and @1k of s, m and l."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = ground_truth
        truth.createIndex()
        found = COCO()
        found.dataset = ground_truth | {
            "annotations": [
                p | {"id": i, "category_id": 9, "area": p["bbox"][2] * p["bbox"][3], "iscrowd": 0}
                for i, p in enumerate(proposals, start=1)
            ]
        }
        found.createIndex()
        evaluation = COCOeval(truth, found, "bbox")
        evaluation.params.useCats = 0
        evaluation.params.maxDets = [1, 100, 1000]
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return [float(value) for value in evaluation.stats[7:12]]


def recalls(metrics: ProposalMetrics) -> list[float]:
    return [metrics.AR100, metrics.AR1k, metrics.ARs, metrics.ARm, metrics.ARl]


@pytest.mark.parametrize(("images", "count"), [(6, 40), (5, 130), (2, 1100)])
def test_all_figures_equal_those_of_pycocotools(images: int, count: int) -> None:
    ground_truth, proposals = random_set(images, images, count)
    metrics = proposal_metrics(ground_truth, proposals)
    expected = reference(ground_truth, proposals)
    np.testing.assert_allclose(recalls(metrics), expected, rtol=0, atol=1e-9)
    assert all(0.05 < value < 0.999 for value in expected)
    assert metrics.per_image == count


def one_object(**more: object) -> tuple[Json, Json]:
    """A cat of 60 x 40 in the second of two images, and a perfect proposal for it."""
    bbox = [10, 20, 60, 40]
    truth = {"id": 1, "image_id": 4, "category_id": 9, "bbox": bbox, "area": 2400, "iscrowd": 0}
    ground_truth = {
        "images": [{"id": i, "width": WIDTH, "height": HEIGHT} for i in (3, 4)],
        "annotations": [truth | more],
        "categories": CATEGORIES,
    }
    return ground_truth, {"image_id": 4, "bbox": bbox, "score": 0.5}


@pytest.mark.parametrize("category", [{}, {"category_id": 0}, {"category_id": 2}])
def test_the_category_of_a_proposal_does_not_matter(category: Json) -> None:
    ground_truth, proposal = one_object()
    assert proposal_metrics(ground_truth, [proposal | category]).AR1k == pytest.approx(1)


def test_only_the_best_1000_are_looked_at_and_only_100_for_ar100() -> None:
    ground_truth, proposal = one_object()
    for better, expected in ((99, (1, 1)), (100, (0, 1)), (999, (0, 1)), (1000, (0, 0))):
        others = [proposal | {"bbox": [400, 300, 9, 9], "score": 0.9}] * better
        metrics = proposal_metrics(ground_truth, [proposal, *others])
        assert (metrics.AR100, metrics.AR1k) == pytest.approx(expected)


def test_a_size_without_objects_and_crowds_are_not_measured() -> None:
    ground_truth, proposal = one_object()
    metrics = proposal_metrics(ground_truth, [proposal])
    assert (metrics.ARm, metrics.per_image) == pytest.approx((1, 0.5))
    assert math.isnan(metrics.ARs)
    crowd, _ = one_object(iscrowd=1)
    assert all(math.isnan(value) for value in recalls(proposal_metrics(crowd, [])))


def test_an_image_without_proposals_counts_as_missed() -> None:
    ground_truth, proposal = one_object()
    missed = ground_truth["annotations"][0] | {"id": 2, "image_id": 3}
    ground_truth["annotations"].append(missed)
    assert proposal_metrics(ground_truth, [proposal]).AR1k == pytest.approx(0.5)


def test_levels_are_scored_by_themselves_and_together() -> None:
    ground_truth, proposals = random_set(3, 3, 30)
    by_level = {"P2": proposals[::2], "P3": proposals[1::2], "P4": []}
    metrics = level_metrics(ground_truth, by_level)
    assert list(metrics) == ["all", "P2", "P3", "P4"]
    assert metrics["all"] == proposal_metrics(ground_truth, proposals)
    assert metrics["P3"] == proposal_metrics(ground_truth, proposals[1::2])
    assert metrics["P3"].AR1k < metrics["all"].AR1k
    assert recalls(metrics["P4"]) == [0] * 5


def test_a_proposal_of_an_unknown_image_is_refused() -> None:
    ground_truth, proposal = one_object()
    with pytest.raises(ValueError, match=r"image_id that is not in the ground truth: \[77\]"):
        proposal_metrics(ground_truth, [proposal | {"image_id": 77}])


def test_json_and_table_cells_say_what_is_undefined() -> None:
    ground_truth, proposal = one_object()
    metrics = proposal_metrics(ground_truth, [proposal] * 3)
    values = json.loads(json.dumps(metrics.as_json(), allow_nan=False))
    assert values == {"AR100": 1, "AR1k": 1, "ARs": None, "ARm": 1, "ARl": None, "per_image": 1.5}
    assert metrics.row() == {
        "AR@100": "100.0",
        "AR@1k": "100.0",
        "ARs@1k": "-",
        "ARm@1k": "100.0",
        "ARl@1k": "-",
        "an image": "2",
    }
