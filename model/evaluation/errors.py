"""What a detector does wrong, and what each kind of error costs: TIDE (Bolya et al., ECCV 2020, arXiv 2008.08115).

Errors are priced in average precision at an IoU of 0.5, `t_f`; below 0.1, `t_b`, a detection is on nothing. A
detection that finds no object of its class (COCO's matching) is one of these, the first that fits:

    duplicate       IoU >= t_f with an object of its class, which a better detection has found
    class           IoU >= t_f with an object of another class
    place           t_b <= IoU < t_f with an object of its class
    class+place     t_b <= IoU < t_f with an object of another class
    background      IoU < t_b with every object

    missed          an object that is not found, and to which no error of class or place belongs

What a kind costs is the AP50 gained if an oracle mended all of it and nothing else: a wrong class or place is put
right, the others are taken away, and missed objects are asked for no more. Where the object that an error of class or
place means is found already, or another one of them is put right with a better score, it is taken away, too. Costs do
not add up: what is left to be wrong costs more in a better detector.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from model.evaluation.scoring import Floats, matches
from model.evaluation.tables import Row, percent

Kind = Literal["class", "place", "class+place", "duplicate", "background", "missed"]
KINDS: tuple[Kind, ...] = get_args(Kind)
FOREGROUND, BACKGROUND = 0.5, 0.1
RECALLS = np.linspace(0, 1, 101)


@dataclass(frozen=True)
class ErrorKind:
    """How many errors there are of a kind, and the AP50 that they cost, in 0..1."""

    count: int
    cost: float

    def row(self) -> Row:
        """The columns of a table."""
        return {"errors": str(self.count), "costs AP50": percent(self.cost)}


@dataclass
class _Found:
    """A detection as it is scored: an oracle may change its class, or whether it is right.

    `means` is the place of the object that it is right about, or would be if it were put right; -1 for none.
    """

    label: int
    score: float
    right: bool
    kind: Kind | None
    means: int


def error_kinds(
    ground_truth: Mapping[str, Any], results: Sequence[Mapping[str, Any]]
) -> dict[Kind, ErrorKind]:
    """The errors of each kind among `results`, of all scores; crowds, and what lies on them, are left out.

    Args:
        ground_truth: a COCO document.
        results: COCO results, of images and categories of the ground truth.
    """
    objects = ground_truth["annotations"]
    found = [*_found(objects, results, matches(ground_truth, results))]
    reached = {each.means for each in found if each.means >= 0}
    missed = [
        place
        for place, each in enumerate(objects)
        if place not in reached and not each.get("iscrowd", 0)
    ]
    there = Counter(each["category_id"] for each in objects if not each.get("iscrowd", 0))
    whole = _ap50(found, there)
    kinds = {}
    for kind in KINDS:
        asked, count = there.copy(), sum(each.kind == kind for each in found)
        if kind == "missed":
            count = len(missed)
            for place in missed:
                asked[objects[place]["category_id"]] -= 1
        mended = [*_mended(found, kind, [each["category_id"] for each in objects])]
        kinds[kind] = ErrorKind(count, _ap50(mended, asked) - whole)
    return kinds


def _found(
    objects: Sequence[Mapping[str, Any]],
    results: Sequence[Mapping[str, Any]],
    matched: NDArray[np.int64],
) -> Iterator[_Found]:
    """The results that count, with what is wrong with each."""
    of_image: dict[int, list[int]] = {}
    for place, each in enumerate(objects):
        if not each.get("iscrowd", 0):
            of_image.setdefault(each["image_id"], []).append(place)
    for result, place in zip(results, matched.tolist(), strict=True):
        label, score = result["category_id"], result["score"]
        if place >= 0:
            if not objects[place].get("iscrowd", 0):
                yield _Found(label, score, True, None, place)
            continue
        near = of_image.get(result["image_id"], [])
        overlaps = _ious(result["bbox"], [objects[each]["bbox"] for each in near])
        own = np.array([objects[each]["category_id"] == label for each in near], bool)
        kind, index = _kind(overlaps, own)
        yield _Found(label, score, False, kind, near[index] if index >= 0 else -1)


def _kind(overlaps: Floats, own: NDArray[np.bool_]) -> tuple[Kind, int]:
    """What is wrong with a detection of these overlaps, and the object that it means; -1 for none."""

    def best(among: NDArray[np.bool_]) -> tuple[float, int]:
        if not among.any():
            return 0.0, -1
        index = int(np.argmax(np.where(among, overlaps, -1)))
        return float(overlaps[index]), index

    (of_own, own_index), (of_other, other_index) = best(own), best(~own)
    if of_own >= FOREGROUND:
        return "duplicate", -1
    if of_other >= FOREGROUND:
        return "class", other_index
    if of_own >= BACKGROUND:
        return "place", own_index
    return ("class+place", -1) if of_other >= BACKGROUND else ("background", -1)


def _mended(found: Sequence[_Found], kind: Kind, labels: Sequence[int]) -> Iterator[_Found]:
    """The detections when all of a kind is put right or, where that is not possible, taken away."""
    taken = {each.means for each in found if each.right}
    for each in sorted(found, key=lambda each: -each.score):
        if each.kind != kind:
            yield each
        elif each.means >= 0 and each.means not in taken:
            taken.add(each.means)
            yield _Found(labels[each.means], each.score, True, None, each.means)


def _ap50(found: Sequence[_Found], there: Mapping[int, int]) -> float:
    """The mean of the classes' average precisions, each of 101 precisions as COCO has it; NaN without objects."""
    precisions = []
    for label, objects in there.items():
        if objects <= 0:
            continue
        own = sorted((each for each in found if each.label == label), key=lambda each: -each.score)
        hits = np.cumsum([each.right for each in own])
        recall, precision = hits / objects, hits / np.arange(1, len(own) + 1)
        # The best precision at a recall or a higher one; none where the recall is not reached.
        best = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
        precisions.append(float(best[np.searchsorted(recall, RECALLS, side="left")].mean()))
    return float(np.mean(precisions)) if precisions else float("nan")


def _ious(box: Sequence[float], others: Sequence[Sequence[float]]) -> Floats:
    """Of a box x, y, width, height with each of the others, float64 [n]."""
    if not others:
        return np.zeros(0)
    one, many = np.array(box, np.float64), np.array(others, np.float64)
    sides = np.minimum(one[:2] + one[2:], many[:, :2] + many[:, 2:]) - np.maximum(
        one[:2], many[:, :2]
    )
    common = sides.clip(0).prod(axis=1)
    union = one[2:].prod() + many[:, 2:].prod(axis=1) - common
    overlaps: Floats = np.divide(common, union, out=np.zeros(len(many)), where=union > 0)
    return overlaps
