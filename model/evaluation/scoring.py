"""COCO's evaluation of boxes, as arrays of precision and recall.

Definitions: https://cocodataset.org/#detection-eval. faster-coco-eval computes the same arrays as
pycocotools, in C++; the tests hold the two together. Where there is nothing to measure it writes
-1, which `mean_measured` leaves out of every mean. Crowds are neither found nor missed.

    T  IoU thresholds 0.50, 0.55 .. 0.95 (10)     R  recall thresholds 0, 0.01 .. 1 (101)
    K  classes, by category id; one if classes are not told apart
    A  areas: all, small, medium, large, with limits 32^2 and 96^2 pixels
    M  detections an image
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from faster_coco_eval import COCO, COCOeval_faster

# Places of 0.50 and 0.75 in T, and of the areas in A.
IOU_50, IOU_75 = 0, 5
EVERY_AREA, SMALL, MEDIUM, LARGE = range(4)

Floats = npt.NDArray[np.float64]


class Scores(NamedTuple):
    """`precision` float64 [T, R, K, A, M] and `recall` float64 [T, K, A, M], in 0..1 or -1."""

    precision: Floats
    recall: Floats


def score(
    ground_truth: Mapping[str, Any],
    results: Sequence[Mapping[str, Any]],
    limits: tuple[int, int, int] = (1, 10, 100),
    *,
    by_class: bool = True,
) -> Scores:
    """The precision and recall of results, of which there may be none.

    Args:
        ground_truth: a COCO document.
        results: COCO results: image_id, category_id, bbox (x, y, width, height), score.
        limits: M: the best so many results of an image are looked at, ascending.
        by_class: a result can only find an object of its own category; else K is 1.

    Raises:
        ValueError: a result is of an image or category that the ground truth does not have.
    """
    evaluation = _evaluation(ground_truth, results)
    evaluation.params.maxDets = list(limits)
    evaluation.params.useCats = int(by_class)
    evaluation.evaluate()
    evaluation.accumulate()
    return Scores(np.asarray(evaluation.eval["precision"]), np.asarray(evaluation.eval["recall"]))


def matched(
    ground_truth: Mapping[str, Any], results: Sequence[Mapping[str, Any]]
) -> npt.NDArray[np.int64]:
    """Whether each result finds an object at an IoU of 0.5: 1, 0, or -1 if it lies on a crowd. int64 [n].

    Raises:
        ValueError: as `score`.
    """
    crowds = [bool(each.get("iscrowd", 0)) for each in ground_truth["annotations"]]
    found = matches(ground_truth, results)
    right = np.where(found >= 0, 1, 0)
    right[[place >= 0 and crowds[place] for place in found.tolist()]] = -1
    return right


def matches(
    ground_truth: Mapping[str, Any], results: Sequence[Mapping[str, Any]]
) -> npt.NDArray[np.int64]:
    """The place among the annotations of what each result finds at an IoU of 0.5; -1 where it finds nothing. int64 [n].

    As COCO matches: of an image and class the results take, best score first, the object that is not taken yet and
    overlaps most.

    Raises:
        ValueError: as `score`.
    """
    found = np.full(len(results), -1, np.int64)
    if not results:
        return found
    evaluation = _evaluation(ground_truth, results)
    evaluation.params.iouThrs = np.array([0.5])
    evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
    # All of an image, that is.
    evaluation.params.maxDets = [max(Counter(result["image_id"] for result in results).values())]
    evaluation.evaluate()
    evaluation.accumulate()
    for pair in evaluation.eval["matched"]:
        # Both are numbered from 1.
        result, of = (int(number) - 1 for number in pair.split("_"))
        found[result] = of
    return found


def _evaluation(
    ground_truth: Mapping[str, Any], results: Sequence[Mapping[str, Any]]
) -> COCOeval_faster:
    _check_references(ground_truth, results)
    return COCOeval_faster(
        COCO(_with_annotations(ground_truth, ground_truth["annotations"])),
        COCO(_with_annotations(ground_truth, results)),
        iouType="bbox",
        print_function=_say_nothing,
    )


def mean_measured(values: Floats) -> float:
    """The mean over what there was to measure, NaN if that is nothing."""
    measured = values[values > -1]
    return float(measured.mean()) if measured.size else math.nan


def or_none(value: float) -> float | None:
    """The value as JSON has it: null for NaN."""
    return None if math.isnan(value) else value


def _check_references(
    ground_truth: Mapping[str, Any], results: Sequence[Mapping[str, Any]]
) -> None:
    for key, section in (("image_id", "images"), ("category_id", "categories")):
        known = {entry["id"] for entry in ground_truth[section]}
        unknown = sorted({result[key] for result in results} - known)
        if unknown:
            raise ValueError(
                f"results with a {key} that is not in the ground truth: {unknown[:10]}"
            )


def _with_annotations(
    ground_truth: Mapping[str, Any], annotations: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """A document of the ground truth's images and classes with these annotations.

    They are copies, because the evaluation writes into them, and are numbered from 1, because it
    takes an annotation with id 0 for one that was not found.
    """
    return {
        "images": ground_truth["images"],
        "categories": ground_truth["categories"],
        "annotations": [
            {"iscrowd": 0, "area": a["bbox"][2] * a["bbox"][3], **a, "id": number}
            for number, a in enumerate(annotations, start=1)
        ],
    }


def _say_nothing(*_: object) -> None:
    pass
