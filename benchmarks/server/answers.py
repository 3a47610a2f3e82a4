"""Whether a server answers what the engine finds, so that nobody wins by doing less."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.server.work import Work

PIXELS = 2.0  # boxes so near are the same


@dataclass(frozen=True)
class Object:
    """A class, and a box xyxy in pixels of the photograph."""

    label: str
    box: tuple[float, ...]


Found = list[Object]


def found_in(body: bytes) -> Found:
    """The objects of an answer: ours, of a list of one, or as the peers write it."""
    answer = json.loads(body)
    if isinstance(answer, list):
        answer = answer[0]
    if "images" in answer:
        answer = answer["images"][0]
    return [Object(each["label"], tuple(each["box"])) for each in answer["detections"]]


def expected_of(work: Work, photographs: Sequence[bytes]) -> list[Found]:
    """The objects that the engine finds in each of the photographs."""
    found = (work.detected([work.frame(each)])[0] for each in photographs)
    return [[Object(each.label, each.box) for each in one.detections] for one in found]


def agreement(expected: Sequence[Found], got: Sequence[Found]) -> float:
    """The share of objects that are in both, of all that are in either; 1 where there are none."""
    both = sum(_common(*pair) for pair in zip(expected, got, strict=True))
    every = sum(map(len, expected)) + sum(map(len, got)) - both
    return both / every if every else 1.0


def _common(one: Found, other: Found) -> int:
    left = list(other)
    for each in one:
        same = next((it for it in left if _same(each, it)), None)
        if same is not None:
            left.remove(same)
    return len(other) - len(left)


def _same(one: Object, other: Object) -> bool:
    near = np.abs(np.subtract(one.box, other.box)).max() <= PIXELS
    return one.label == other.label and bool(near)
