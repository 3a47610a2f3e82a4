"""What a detector takes for what: every object beside the detection that lies on it, whatever its class.

K   classes, by category id; row or column K is nothing: an object that was missed, a detection on no object
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]
# From this IoU on a detection lies on an object.
ON_IT = 0.5


def confusion(
    ground_truth: Mapping[str, Any], results: Sequence[Mapping[str, Any]], threshold: float
) -> Counts:
    """Counts int64 [K + 1, K + 1]: true class -> found class, of the results of a score of `threshold` and above.

    The best detections choose first, each the free object that it overlaps most. Crowds are no objects.
    """
    places = {c["id"]: place for place, c in enumerate(_by_id(ground_truth["categories"]))}
    nothing = len(places)
    counts = np.zeros((nothing + 1, nothing + 1), np.int64)
    objects = _by_image(a for a in ground_truth["annotations"] if not a.get("iscrowd", 0))
    found = _by_image(result for result in results if result["score"] >= threshold)
    for image_id in {*objects, *found}:
        free = list(objects[image_id])
        for detection in sorted(found[image_id], key=lambda each: -each["score"]):
            overlaps = [_iou(detection["bbox"], each["bbox"]) for each in free]
            best = int(np.argmax(overlaps)) if overlaps else -1
            on_it = best >= 0 and overlaps[best] >= ON_IT
            true = places[free.pop(best)["category_id"]] if on_it else nothing
            counts[true, places[detection["category_id"]]] += 1
        for missed in free:
            counts[places[missed["category_id"]], nothing] += 1
    return counts


def _by_id(categories: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return sorted(categories, key=lambda category: int(category["id"]))


def _by_image(boxes: Any) -> dict[int, list[Mapping[str, Any]]]:
    found: dict[int, list[Mapping[str, Any]]] = defaultdict(list)
    for box in boxes:
        found[box["image_id"]].append(box)
    return found


def _iou(one: Sequence[float], other: Sequence[float]) -> float:
    """Of two boxes x, y, width, height."""
    x, y, w, h = one
    a, b, c, d = other
    common = max(0.0, min(x + w, a + c) - max(x, a)) * max(0.0, min(y + h, b + d) - max(y, b))
    return common / (w * h + c * d - common) if common else 0.0
