import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.artifact.manifest import Manifest, read_manifest
from service.errors import InvalidModel
from service.pictures.framing import choose_bucket, resized_size
from tests.service.tiny_model import MANIFEST

POINT = {"score": 0.4, "precision": 0.9, "recall": 0.5}
HISTOGRAM = {"edges": [0.0, 1.0, 2.0], "counts": [3, 4]}
REFERENCE = {
    "images": 7,
    "least_score": 0.3,
    "scores": {"edges": [0.3, 1.0], "counts": [[1], [2], [3]]},
    "detections": HISTOGRAM,
    "levels": [1, 2, 3, 4, 5],
    "sizes": HISTOGRAM,
}


def golden(label: int) -> dict[str, Any]:
    return {
        "tolerance": {"score": 0.01, "box": 1.0},
        "least_score": 0.3,
        "photographs": [
            {
                "name": "a.jpg",
                "jpeg": "AAAA",
                "content": [32, 48],
                "bucket": [32, 64],
                "means": [1.0, 2.0, 3.0],
                "detections": [{"label": label, "score": 0.5, "box": [1.0, 2.0, 3.0, 4.0]}],
            }
        ],
    }


def changed(**changes: Any) -> str:
    return json.dumps({**copy.deepcopy(MANIFEST), **changes})


def test_a_manifest_comes_back_as_it_was_written() -> None:
    manifest = read_manifest(json.dumps(MANIFEST))
    assert json.loads(manifest.model_dump_json(by_alias=True)) == MANIFEST


def test_what_was_measured_comes_back_too() -> None:
    measured = {
        "thresholds": {"every": POINT, "classes": [POINT, None, POINT]},
        "golden": golden(label=2),
        "reference": REFERENCE,
    }
    manifest = read_manifest(changed(**measured))
    assert json.loads(manifest.model_dump_json(by_alias=True)) == {**MANIFEST, **measured}


def test_a_newer_schema_says_to_upgrade_the_server() -> None:
    with pytest.raises(InvalidModel, match="reads manifest schema 3, got 4: upgrade the server"):
        read_manifest(changed(schema=4))


@pytest.mark.parametrize("schema", [0, 2, "1", None, []])
def test_any_other_schema_says_to_export_again(schema: object) -> None:
    with pytest.raises(
        InvalidModel, match="make it anew from its checkpoint: fpn-export CHECKPOINT --out FILE"
    ):
        read_manifest(changed(schema=schema))


@pytest.mark.parametrize("text", ["", "{", "[]", "7", "{}"])
def test_what_is_no_manifest_is_refused(text: str) -> None:
    with pytest.raises(InvalidModel, match="not a JSON object with a schema number"):
        read_manifest(text)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"novelty": 1}, "novelty"),
        ({"classes": []}, "classes"),
        ({"classes": ["cat", "cat"]}, "class cat is there twice"),
        ({"classes": ["cat", "", "dog"]}, "classes.1"),
        ({"classes": ["cat", "\ufeffdog", "bird"]}, "classes.1: .*expected printable characters"),
        ({"classes": ["cat", "dog", "bird "]}, "classes.2: .*without white space at the ends"),
        ({"classes": "cat"}, "classes"),
        ({"precision": "int4"}, "precision"),
        ({"max_detections": "100"}, "max_detections"),
        ({"buckets": [[32, 70], [96, 32]]}, r"bucket \[32, 70\]: expected multiples of 32"),
        ({"buckets": [[32, 96]]}, "no bucket holds an image of 80 x 32"),
        ({"buckets": [[64, 64], [96, 32]]}, "no bucket holds an image of 32 x 80"),
        ({"buckets": [[96, 96], [96, 96]]}, "is there twice"),
        ({"levels": [{"name": "P3", "stride": 4}]}, "level P3 with stride 4"),
        ({"levels": [{"name": "P2", "stride": 5}]}, "level P2 with stride 5"),
        ({"suppression": {"score": 1.5, "nms": 0.5, "proposal_nms": 0.7}}, "suppression.score"),
        ({"category_ids": [1, 2]}, "category_ids: expected 3 entries, got 2"),
        ({"category_ids": [1, 2, 2]}, "category_id 2 is there twice"),
        ({"limits": {"max_side": 64, "max_batch": 8, "max_regions": 9}}, "sides of at most 64"),
        ({"thresholds": {"every": POINT, "classes": [POINT]}}, "thresholds.classes: expected 3"),
        ({"golden": golden(label=3)}, "golden photograph a.jpg: label 3 of 3 classes"),
        ({"golden": golden(label=-1)}, "golden.photographs.0.detections.0.label"),
        (
            {"reference": {**REFERENCE, "levels": [1]}},
            "reference.levels: expected 5 entries, got 1",
        ),
        (
            {"reference": {**REFERENCE, "sizes": {"edges": [2, 1], "counts": [1]}}},
            "edges that rise",
        ),
        ({"reference": {**REFERENCE, "sizes": {"edges": [1, 2], "counts": []}}}, "0 counts for 1"),
    ],
)
def test_what_is_not_understood_is_refused_and_named(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidModel, match=said):
        read_manifest(changed(**changes))


@pytest.mark.parametrize(
    "names",
    [["P2", "P3", "P4", "P5", "P6"], ["P3", "P4", "P5", "P6", "P7"], ["P4"], ["P5", "P5b", "P6"]],
)
def test_levels_may_be_any_that_are_named_after_their_stride(names: list[str]) -> None:
    levels = [{"name": name, "stride": 2 ** int(name[1])} for name in names]
    assert [level.name for level in read_manifest(changed(levels=levels)).levels] == names


@pytest.mark.parametrize("name", ["P4", "P5"])
def test_a_frame_is_a_multiple_of_32_whatever_the_levels(name: str) -> None:
    levels, frames = [{"name": name, "stride": 2 ** int(name[1])}], [[64, 96], [96, 64]]
    read_manifest(changed(levels=levels, buckets=frames))
    with pytest.raises(InvalidModel, match="expected multiples of 32"):
        read_manifest(changed(levels=levels, buckets=[*frames, [80, 96]]))


def test_a_missing_key_is_named() -> None:
    rest = {key: value for key, value in MANIFEST.items() if key != "resize"}
    with pytest.raises(InvalidModel, match=r"resize: Field required"):
        read_manifest(json.dumps(rest))


def test_a_rule_whose_sides_are_swapped_is_refused() -> None:
    rule = {**MANIFEST["resize"], "short_side": 90}
    with pytest.raises(InvalidModel, match="short_side 90 is more than max_side 80"):
        read_manifest(changed(resize=rule))


@given(st.tuples(st.integers(1, 5000), st.integers(1, 5000)))
def test_a_checked_manifest_has_a_bucket_for_every_photograph(original: tuple[int, int]) -> None:
    manifest = Manifest.model_validate(MANIFEST, strict=False)
    content = resized_size(original, manifest.resize)
    bucket = choose_bucket(content, manifest.buckets)
    assert bucket[0] >= content[0]
    assert bucket[1] >= content[1]
