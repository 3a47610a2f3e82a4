from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.artifact.manifest import Manifest
from service.artifact.tensors import Outputs
from service.detections import (
    AskedThreshold,
    Wanted,
    classes_of,
    detected,
    score_thresholds,
    to_image,
)
from service.errors import InvalidRequest
from service.pictures.framing import Frame, choose_bucket, resized_size
from tests.service.tiny_model import MANIFEST

TINY = Manifest.model_validate(MANIFEST, strict=False)
LEVELS = tuple(level.name for level in TINY.levels)
EVERYTHING = Wanted((0.0,) * 3, None, None, 3, LEVELS)
EVERY = {"score": 0.4, "precision": 0.9, "recall": 0.5}
BIRD = {"score": 0.7, "precision": 0.8, "recall": 0.6}
MEASURED = Manifest.model_validate(
    {**MANIFEST, "thresholds": {"every": EVERY, "classes": [None, None, BIRD]}}, strict=False
)


def framed(original: tuple[int, int]) -> Frame:
    """A frame as `load_frame` would make it of an empty photograph."""
    content = resized_size(original, TINY.resize)
    bucket = choose_bucket(content, TINY.buckets)
    return Frame(np.zeros((3, *bucket), np.uint8), content, original, bucket)


def outputs(**changes: Any) -> Outputs:
    """Three detections of four places, and 3, 2, 1, 0, 3 proposals of the levels."""
    values: dict[str, Any] = {
        "boxes": np.array([[4, 6, 20, 30], [0, 0, 48, 32], [1, 2, 3, 4], [0, 0, 0, 0]], np.float32),
        "scores": np.array([0.9, 0.6, 0.3, 0.0], np.float32),
        "labels": np.array([2, 0, 2, 0]),
        "levels": np.array([3, 5, 2, 0]),
        "counts": np.int64(3),
        "proposals": np.array([[1, 1], [4, 2], [0, 0], [0, 0]]),
        "proposal_boxes": np.tile(np.array([8, 4, 16, 24], np.float32), (5, 3, 1)),
        "proposal_scores": np.tile(np.array([0.8, 0.4, 0.2], np.float32), (5, 1)),
        "proposal_counts": np.array([3, 2, 1, 0, 3]),
        "region_boxes": np.array([[4, 6, 20, 30], [0, 0, 8, 16]], np.float32),
        "region_scores": np.array([0.7, 0.2], np.float32),
        "region_labels": np.array([1, 0]),
        "region_levels": np.array([4, 2]),
    }
    return Outputs(**{**values, **changes})


def wanted(**changes: Any) -> Wanted:
    return Wanted(**{**vars(EVERYTHING), **changes})


def test_a_box_comes_back_in_pixels_of_the_photograph() -> None:
    frame = framed((300, 450))  # resized to 32 x 48
    assert frame.content == (32, 48)
    found = detected(outputs(), frame, TINY, EVERYTHING)
    assert (found.width, found.height) == (450, 300)
    # x by 450 / 48 = 9.375, y by 300 / 32 = 9.375
    assert found.detections[0].box == (37.5, 56.25, 187.5, 281.25)
    assert (found.detections[0].label, found.detections[0].category_id) == ("bird", 16)
    assert found.detections[0].level == "P3"
    assert found.detections[0].score == 0.9


def test_each_axis_has_its_own_ratio() -> None:
    frame = framed((300, 451))  # 32 x 48: x by 451 / 48, y by 300 / 32
    box = to_image(np.array([[48, 32, 24, 16]], np.float32), frame)
    np.testing.assert_allclose(box, [[451, 300, 225.5, 150]])


@given(
    st.tuples(st.integers(1, 3000), st.integers(1, 3000)),
    st.lists(st.floats(0, 1, width=32), min_size=4, max_size=4),
)
def test_mapping_back_undoes_the_resize(original: tuple[int, int], part: list[float]) -> None:
    frame = framed(original)
    (h, w), (content_h, content_w) = original, frame.content
    scale = np.array([content_w, content_h, content_w, content_h])
    in_frame = (np.array([part]) * scale).astype(np.float32)
    expected = np.array([part]) * [w, h, w, h]
    np.testing.assert_allclose(to_image(in_frame, frame), expected, rtol=1e-5, atol=1e-3)


@given(
    st.tuples(st.integers(1, 3000), st.integers(1, 3000)),
    st.lists(st.floats(-200, 200, width=32), min_size=4, max_size=4),
)
def test_no_box_leaves_the_photograph(original: tuple[int, int], box: list[float]) -> None:
    x1, y1, x2, y2 = to_image(np.array([box], np.float32), framed(original))[0]
    assert 0 <= min(x1, x2) <= max(x1, x2) <= original[1]
    assert 0 <= min(y1, y2) <= max(y1, y2) <= original[0]


def test_only_real_detections_are_there_best_first() -> None:
    found = detected(outputs(), framed((40, 60)), TINY, EVERYTHING)
    assert [each.score for each in found.detections] == [0.9, 0.6, 0.3]


def test_no_detections_and_no_proposals_are_an_empty_answer() -> None:
    empty = outputs(counts=np.int64(0), proposal_counts=np.zeros(5, np.int64))
    found = detected(empty, framed((40, 60)), TINY, EVERYTHING)
    assert found.detections == []
    assert found.proposals == {name: [] for name in LEVELS}


@pytest.mark.parametrize(
    ("wish", "scores"),
    [
        ({"score_thresholds": (0.6,) * 3}, [0.9, 0.6]),
        ({"score_thresholds": (0.95,) * 3}, []),
        ({"score_thresholds": (0.1, 0.95, 0.5)}, [0.9, 0.6]),
        ({"max_detections": 1}, [0.9]),
        ({"max_detections": 99}, [0.9, 0.6, 0.3]),
        ({"labels": frozenset({0})}, [0.6]),
        ({"labels": frozenset({2}), "max_detections": 1}, [0.9]),
        ({"labels": frozenset({1})}, []),
    ],
)
def test_only_what_is_wanted_is_there(wish: dict[str, Any], scores: list[float]) -> None:
    found = detected(outputs(), framed((40, 60)), TINY, wanted(**wish))
    assert [each.score for each in found.detections] == scores


def test_each_level_has_its_own_proposals_in_the_photograph() -> None:
    found = detected(outputs(), framed((64, 96)), TINY, EVERYTHING)  # resized by 1/2
    assert [len(found.proposals[name]) for name in LEVELS] == [3, 2, 1, 0, 3]
    assert found.proposals["P2"][0].box == (16, 8, 32, 48)
    assert [each.score for each in found.proposals["P6"]] == [0.8, 0.4, 0.2]


def test_proposals_are_cut_at_the_number_and_to_the_levels_that_are_wanted() -> None:
    found = detected(outputs(), framed((64, 96)), TINY, wanted(proposals=2, levels=("P4", "P2")))
    assert {name: len(each) for name, each in found.proposals.items()} == {"P2": 2, "P4": 1}


def test_zero_proposals_leave_the_levels_out() -> None:
    assert detected(outputs(), framed((64, 96)), TINY, wanted(proposals=0)).proposals == {}


def test_class_names_become_labels() -> None:
    assert classes_of(["bird", "cat"], TINY) == {0, 2}
    with pytest.raises(KeyError):
        classes_of(["zebra"], TINY)


@pytest.mark.parametrize(
    ("asked", "manifest", "thresholds"),
    [
        (None, TINY, (0.5, 0.5, 0.5)),
        (0.2, TINY, (0.2, 0.2, 0.2)),
        (None, MEASURED, (0.4, 0.4, 0.4)),
        (0.2, MEASURED, (0.2, 0.2, 0.2)),
        ("best", MEASURED, (0.4, 0.4, 0.7)),
    ],
)
def test_the_default_is_the_best_of_all_classes_and_best_is_that_of_each(
    asked: AskedThreshold, manifest: Manifest, thresholds: tuple[float, ...]
) -> None:
    assert score_thresholds(asked, manifest) == thresholds


def test_the_best_of_a_model_that_has_none_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="this model says none for best"):
        score_thresholds("best", TINY)


def test_a_score_that_is_the_threshold_is_kept_though_float32_has_neither() -> None:
    # float32(0.7) is below 0.7
    just = outputs(scores=np.array([0.7, 0.6, 0.3, 0], np.float32))
    found = detected(just, framed((40, 60)), TINY, wanted(score_thresholds=(0.7,) * 3))
    assert [each.score for each in found.detections] == [0.7]
