"""Golden photographs: whether a server, as it runs here, gives the answers that were seen when the model was exported.

A runtime, a CPU's kernels, a decoder or a resize that is not what it should be gives others. A photograph is decoded,
resized and run as one of a request is, through functions that are handed in; what comes back is compared with what the
manifest has. Its frame tells a decoder or a resize that differs from a kernel that does.

Detections are matched by class and IoU. Of those whose score is within the tolerance of the least one that counts,
either side may have some that the other has not.
"""

import base64
import binascii
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from service.artifact.manifest import Manifest
from service.artifact.measured import GoldenDetection, GoldenPhotograph, Tolerance
from service.artifact.tensors import Outputs
from service.detections import Box, to_image
from service.errors import (
    DecodingFailed,
    InferenceFailed,
    InvalidImage,
    TooLarge,
    UnsupportedMediaType,
    WrongAnswers,
)
from service.pictures.framing import Frame, Size

# Of a mean over the content, of 255. A decoder whose every pixel may be one off moved it by at most 0.07 (of 40
# photographs); decoding at half size moved that of half of them by 0.08 and more. An interpolation keeps it, and shows
# in scores and boxes.
MEANS_TOLERANCE = 0.25
# Suppression leaves no two detections of a class that overlap as much.
LEAST_IOU = 0.5

REFUSED = (DecodingFailed, InvalidImage, TooLarge, UnsupportedMediaType, InferenceFailed)


@dataclass(frozen=True)
class Verdict:
    """How a golden photograph fared.

    Attributes:
        name: of the photograph.
        differences: beyond the tolerance, one sentence each; none where it passed.
        expected, matched: how many detections were seen at export, and how many of them here.
        score_difference, box_difference: the largest of those that matched, in probability and in pixels of the image.
    """

    name: str
    differences: tuple[str, ...]
    expected: int
    matched: int = 0
    score_difference: float = 0.0
    box_difference: float = 0.0


@dataclass(frozen=True)
class Found:
    """A detection as it was found here; its box in pixels of the image."""

    label: int
    score: float
    box: Box


Pair = tuple[GoldenDetection, Found]


async def verdicts(
    manifest: Manifest,
    frame: Callable[[bytes], Awaitable[Frame]],
    run: Callable[[Frame], Awaitable[Mapping[str, Outputs]]],
) -> list[Verdict]:
    """The verdict on every golden photograph, one after the other; none where the manifest has no photographs.

    `frame` and `run` are how the server decodes a file, and how it runs a frame: the outputs of that one image in each
    way in which it may be run, by a name for that way.
    """
    given = []
    for photograph in manifest.golden.photographs if manifest.golden else ():
        try:
            framed = await frame(_bytes_of(photograph))
            ways = await run(framed)
        except REFUSED as error:
            given.append(Verdict(photograph.name, (error.detail,), len(photograph.detections)))
        else:
            compared = {way: compare(photograph, framed, ways[way], manifest) for way in ways}
            given.append(_worst(compared))
    return given


def _worst(given: Mapping[str, Verdict]) -> Verdict:
    """What holds of a photograph in all the ways in which it was run: by name, at least one."""
    every = list(given.values())
    differences = {said: None for each in every for said in each.differences}
    return Verdict(
        name=every[0].name,
        differences=tuple(said + _in_some(given, said) for said in differences),
        expected=every[0].expected,
        matched=min(each.matched for each in every),
        score_difference=max(each.score_difference for each in every),
        box_difference=max(each.box_difference for each in every),
    )


def _in_some(given: Mapping[str, Verdict], said: str) -> str:
    """In which ways there is this difference; nothing where it is in all."""
    ways = [way for way, verdict in given.items() if said in verdict.differences]
    return "" if len(ways) == len(given) else f" ({', '.join(ways)})"


def refuse_wrong(given: Sequence[Verdict]) -> None:
    """Raises WrongAnswers with the first difference of `given`, if there is any."""
    differences = [f"{each.name}: {said}" for each in given for said in each.differences]
    if differences:
        more = f" (and {len(differences) - 1} more)" if len(differences) > 1 else ""
        raise WrongAnswers(f"golden photograph {differences[0]}{more}")


def compare(
    photograph: GoldenPhotograph, frame: Frame, outputs: Outputs, manifest: Manifest
) -> Verdict:
    """The verdict on `photograph`, whose `frame` and `outputs` were made here. `manifest` has golden photographs."""
    assert manifest.golden is not None
    tolerance, least = manifest.golden.tolerance, manifest.golden.least_score
    expected, found = photograph.detections, _found(outputs, frame, least - tolerance.score)
    places = _matches(expected, found)
    pairs = [(expected[i], found[j]) for i, j in places.items()]
    missing = [each for i, each in enumerate(expected) if i not in places]
    surplus = [each for j, each in enumerate(found) if j not in places.values()]
    differences = [
        *_frame_differences(photograph, frame),
        *_pair_differences(pairs, tolerance, manifest.classes),
        *(
            f"{manifest.classes[each.label]} of score {each.score:.4f} at {_rounded(each.box)} {said}"
            for lone, said in ((missing, "is missing"), (surplus, "was not seen at export"))
            for each in lone
            if each.score >= least + tolerance.score
        ),
    ]
    return Verdict(
        name=photograph.name,
        differences=tuple(differences),
        expected=len(expected),
        matched=len(pairs),
        score_difference=max((_apart(*pair)[0] for pair in pairs), default=0.0),
        box_difference=max((_apart(*pair)[1] for pair in pairs), default=0.0),
    )


def _bytes_of(photograph: GoldenPhotograph) -> bytes:
    try:
        return base64.b64decode(photograph.jpeg, validate=True)
    except binascii.Error as error:
        raise InvalidImage("its file is not base64") from error


def _frame_differences(photograph: GoldenPhotograph, frame: Frame) -> Iterator[str]:
    """How the frame differs from the one that was made at export."""
    for said, here, seen in (
        ("is resized to", frame.content, photograph.content),
        ("lies in a frame of", frame.bucket, photograph.bucket),
    ):
        if here != seen:
            yield f"{said} {_of_size(here)}, expected {_of_size(seen)}"
    means = frame.pixels[:, : frame.content[0], : frame.content[1]].mean(axis=(1, 2))
    if np.abs(means - photograph.means).max() > MEANS_TOLERANCE:
        yield (
            f"is decoded or resized otherwise: its mean red, green and blue are {_rounded(means.tolist())}, expected"
            f" {_rounded(photograph.means)} to within {MEANS_TOLERANCE:g}"
        )


def _found(outputs: Outputs, frame: Frame, least_score: float) -> list[Found]:
    """The detections of `least_score` and above, best first."""
    count = int(outputs.counts)
    kept = np.flatnonzero(outputs.scores[:count] >= least_score)
    boxes = to_image(outputs.boxes[kept], frame).tolist()
    return [
        Found(int(outputs.labels[i]), float(outputs.scores[i]), tuple(box))
        for i, box in zip(kept, boxes, strict=True)
    ]


def _pair_differences(
    pairs: Sequence[Pair], tolerance: Tolerance, classes: Sequence[str]
) -> Iterator[str]:
    """How matched detections differ, beyond the tolerance."""
    for seen, here in pairs:
        name = classes[seen.label]
        score, box = _apart(seen, here)
        if score > tolerance.score:
            yield (
                f"{name} at {_rounded(seen.box)} has score {here.score:.4f}, expected {seen.score:.4f} to within"
                f" {tolerance.score:g}"
            )
        if box > tolerance.box:
            yield (
                f"{name} of score {seen.score:.4f} is at {_rounded(here.box)}, expected {_rounded(seen.box)} to within"
                f" {tolerance.box:g} pixels"
            )


def _apart(seen: GoldenDetection, here: Found) -> tuple[float, float]:
    """How far apart the scores are, and the corners where they are farthest."""
    corners = (abs(a - b) for a, b in zip(seen.box, here.box, strict=True))
    return abs(seen.score - here.score), max(corners)


def _matches(expected: Sequence[GoldenDetection], found: Sequence[Found]) -> dict[int, int]:
    """Place in `expected` -> place in `found`, of those that overlap most; each is in one pair at most."""
    matches: dict[int, int] = {}
    overlaps = [
        (_iou(np.array(seen.box), np.array(here.box)), i, j)
        for (i, seen), (j, here) in product(enumerate(expected), enumerate(found))
        if seen.label == here.label
    ]
    for overlap, i, j in sorted(overlaps, key=lambda each: -each[0]):
        if overlap >= LEAST_IOU and i not in matches and j not in matches.values():
            matches[i] = j
    return matches


def _iou(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Intersection over union of two boxes; 0 where neither has an area."""
    sides = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    shared = float(np.prod(sides.clip(0)))
    union = float(np.prod(one[2:] - one[:2]) + np.prod(other[2:] - other[:2])) - shared
    return shared / union if union > 0 else 0.0


def _of_size(size: Size) -> str:
    return f"{size[1]} x {size[0]}"


def _rounded(values: Sequence[float]) -> list[float]:
    return [round(value, 2) for value in values]
