"""The comparison with what was seen at export: what passes, and what is said of what does not."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from service.artifact.manifest import Manifest
from service.artifact.tensors import Outputs
from service.detections import to_image
from service.errors import InferenceFailed, InvalidImage, WrongAnswers
from service.golden import Verdict, compare, refuse_wrong, verdicts
from service.pictures.framing import Frame
from tests.service.tiny_model import MANIFEST

# Resized from 300 x 450 to 32 x 48: pixels of the photograph are 9.375 times those of the frame.
FRAME = Frame(np.full((3, 32, 64), 100, np.uint8), (32, 48), (300, 450), (32, 64))
BOXES = np.array([[4, 6, 20, 30], [0, 0, 48, 32], [30, 2, 40, 9], [0, 0, 0, 0]], np.float32)
SCORES = np.array([0.9, 0.6, 0.31, 0.0], np.float32)
LABELS = np.array([2, 0, 2, 0])
TOLERANCE = {"score": 0.02, "box": 1.0}


def outputs(**changes: Any) -> Outputs:
    """Two birds, one of them only just worth counting, and a cat between them."""
    nothing = np.zeros(0)
    values: dict[str, Any] = dict.fromkeys(Outputs.__dataclass_fields__, nothing)
    real = {"boxes": BOXES, "scores": SCORES, "labels": LABELS, "counts": np.int64(3)}
    return Outputs(**{**values, **real, **changes})


def detection(label: int, score: float, box: list[float]) -> dict[str, Any]:
    return {"label": label, "score": score, "box": box}


def manifest_of(**changes: Any) -> Manifest:
    """A manifest with one golden photograph: `outputs()` in `FRAME`, but for `changes`."""
    boxes = to_image(BOXES, FRAME).tolist()
    photograph = {
        "name": "a.jpg",
        "jpeg": "AAAA",
        "content": FRAME.content,
        "bucket": FRAME.bucket,
        "means": [100.0] * 3,
        "detections": [detection(2, 0.9, boxes[0]), detection(0, 0.6, boxes[1])],
        **changes,
    }
    golden = {"tolerance": TOLERANCE, "least_score": 0.3, "photographs": [photograph]}
    return Manifest.model_validate({**MANIFEST, "golden": golden}, strict=False)


def verdict(found: Outputs, frame: Frame = FRAME, **changes: Any) -> Verdict:
    manifest = manifest_of(**changes)
    assert manifest.golden is not None
    return compare(manifest.golden.photographs[0], frame, found, manifest)


def test_the_answer_that_was_seen_passes_with_how_far_it_is_from_it() -> None:
    near = outputs(
        scores=np.array([0.89, 0.605, 0.31, 0], np.float32),
        boxes=BOXES + np.array([0, 0.08, 0, 0], np.float32),
    )
    passed = verdict(near)
    assert passed.differences == ()
    assert (passed.matched, passed.expected) == (2, 2)
    assert passed.score_difference == pytest.approx(0.01, abs=1e-6)
    assert passed.box_difference == pytest.approx(0.75, abs=1e-4)


@pytest.mark.parametrize("score", [0.31, 0.29])
def test_what_is_only_just_worth_counting_may_be_there_or_not(score: float) -> None:
    here = outputs(scores=np.array([0.9, 0.6, score, 0], np.float32))
    boxes = to_image(BOXES, FRAME).tolist()
    seen = [detection(2, 0.9, boxes[0]), detection(0, 0.6, boxes[1])]
    assert verdict(here).differences == ()
    assert verdict(here, detections=[*seen, detection(2, 0.3, boxes[2])]).differences == ()
    assert verdict(here, detections=[*seen, detection(1, 0.31, boxes[2])]).differences == ()


def test_the_order_of_detections_of_nearly_one_score_does_not_matter() -> None:
    order = [1, 0, 2, 3]
    swapped = outputs(
        boxes=BOXES[order], labels=LABELS[order], scores=np.array([0.75, 0.75, 0, 0], np.float32)
    )
    boxes = to_image(BOXES, FRAME).tolist()
    seen = [detection(2, 0.751, boxes[0]), detection(0, 0.749, boxes[1])]
    assert verdict(swapped, detections=seen).differences == ()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"scores": np.array([0.9, 0.5, 0, 0], np.float32)},
            "cat at [0.0, 0.0, 450.0, 300.0] has score 0.5000, expected 0.6000 to within 0.02",
        ),
        (
            {"boxes": BOXES + np.array([0.25, 0, 0, 0], np.float32)},
            "bird of score 0.9000 is at [39.84, 56.25, 187.5, 281.25], expected"
            " [37.5, 56.25, 187.5, 281.25] to within 1 pixels",
        ),
        ({"counts": np.int64(1)}, "cat of score 0.6000 at [0.0, 0.0, 450.0, 300.0] is missing"),
        (
            {"scores": np.array([0.9, 0.6, 0.5, 0], np.float32)},
            "bird of score 0.5000 at [281.25, 18.75, 375.0, 84.38] was not seen at export",
        ),
        (
            {"labels": np.array([1, 0, 2, 0])},
            "dog of score 0.9000 at [37.5, 56.25, 187.5, 281.25] was not seen at export",
        ),
        ({"scores": np.full(4, np.nan, np.float32)}, "is missing"),
    ],
)
def test_another_answer_says_what_differs(changes: dict[str, Any], said: str) -> None:
    assert any(said in each for each in verdict(outputs(**changes)).differences)


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (replace(FRAME, content=(31, 48)), "is resized to 48 x 31, expected 48 x 32"),
        (
            replace(FRAME, bucket=(64, 64), pixels=np.full((3, 64, 64), 100, np.uint8)),
            "lies in a frame of 64 x 64, expected 64 x 32",
        ),
        (
            replace(FRAME, pixels=np.full((3, 32, 64), 101, np.uint8)),
            "is decoded or resized otherwise: its mean red, green and blue are [101.0, 101.0, 101.0], expected"
            " [100.0, 100.0, 100.0] to within 0.25",
        ),
    ],
)
def test_another_frame_says_what_differs_before_its_detections_do(frame: Frame, said: str) -> None:
    differences = verdict(outputs(scores=np.zeros(4, np.float32)), frame).differences
    assert differences[0] == said
    assert "is missing" in differences[-1]


def test_what_lies_beside_the_content_does_not_count_in_its_means() -> None:
    pixels = FRAME.pixels.copy()
    pixels[:, :, 48:] = 0
    assert verdict(outputs(), replace(FRAME, pixels=pixels)).differences == ()


def test_a_refusal_names_the_first_difference_and_how_many_there_are() -> None:
    good, bad = Verdict("a.jpg", (), 1), Verdict("b.jpg", ("is dim", "is small"), 1)
    refuse_wrong([good])
    with pytest.raises(WrongAnswers, match=r"^golden photograph b.jpg: is dim \(and 1 more\)$"):
        refuse_wrong([good, bad])


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("jpeg", "said"), [("AA!!", "its file is not base64"), ("AAAA", "expected an image")]
)
async def test_a_photograph_that_does_not_decode_is_a_difference(jpeg: str, said: str) -> None:
    async def frame(data: bytes) -> Frame:
        raise InvalidImage("expected an image, one of JPEG")

    async def run(frame: Frame) -> dict[str, Outputs]:
        raise AssertionError("there is no frame")

    (given,) = await verdicts(manifest_of(jpeg=jpeg), frame, run)
    assert said in given.differences[0]
    assert (given.matched, given.expected) == (0, 2)


@pytest.mark.anyio
async def test_a_photograph_that_the_model_fails_on_is_a_difference() -> None:
    async def frame(data: bytes) -> Frame:
        return FRAME

    async def run(frame: Frame) -> dict[str, Outputs]:
        raise InferenceFailed("the model failed on this input")

    (given,) = await verdicts(manifest_of(), frame, run)
    assert given.differences == ("the model failed on this input",)


@pytest.mark.anyio
async def test_every_way_to_run_a_frame_must_pass_and_the_one_that_does_not_is_named() -> None:
    dim = outputs(scores=np.array([0.8, 0.6, 0.31, 0.0], np.float32))

    async def frame(data: bytes) -> Frame:
        return FRAME

    async def verdict_of(ways: dict[str, Outputs]) -> Verdict:
        async def run(frame: Frame) -> dict[str, Outputs]:
            return ways

        (given,) = await verdicts(manifest_of(), frame, run)
        return given

    some = await verdict_of({"wide": outputs(), "narrow": dim})
    assert some.score_difference == pytest.approx(0.1, abs=1e-6)
    assert [said.rpartition(" (")[2] for said in some.differences] == ["narrow)"]
    every = await verdict_of({"wide": dim, "narrow": dim})
    assert "narrow" not in every.differences[0]
    assert (await verdict_of({"wide": outputs(), "narrow": outputs()})).differences == ()
