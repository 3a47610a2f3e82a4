"""What fpn-eval wrote comes into the manifest, by label."""

import json
from pathlib import Path
from typing import Any

import pytest

from export.measured import UnfitMeasurement, read_measured
from model.data.coco import CocoDataset
from model.evaluation.evaluation import evaluate
from model.evaluation.feeding import Loading
from tests.model.colours import LEVEL_NAMES, ColourDetector
from tests.model.conftest import coloured, folder

__all__ = ["coloured", "folder"]

CLASSES = ("red", "green")


@pytest.fixture
def figures(coloured: Any) -> dict[str, Any]:
    dataset: CocoDataset = coloured.read()
    return evaluate(ColourDetector(), dataset, Loading(2)).as_json()


def written(folder: Path, values: object) -> Path:
    path = folder / "accuracy.json"
    path.write_text(json.dumps(values))
    return path


def test_classes_and_levels_come_in_the_detectors_order(
    tmp_path: Path, figures: dict[str, Any]
) -> None:
    measured = read_measured(written(tmp_path, figures), CLASSES, LEVEL_NAMES)
    assert measured.accuracy["AP50"] == figures["AP50"]
    assert measured.thresholds is not None
    assert measured.reference is not None
    for label, name in enumerate(CLASSES):
        assert measured.thresholds["classes"][label] == figures["thresholds"]["classes"][name]
        counts = figures["reference"]["scores"][name]["counts"]
        assert measured.reference["scores"]["counts"][label] == counts
    assert measured.reference["levels"] == [4, 0, 0, 4, 0]


def test_a_class_that_the_data_set_does_not_have_has_no_threshold(
    tmp_path: Path, figures: dict[str, Any]
) -> None:
    del figures["thresholds"]["classes"]["red"]
    measured = read_measured(written(tmp_path, figures), CLASSES, LEVEL_NAMES)
    assert measured.thresholds is not None
    assert measured.thresholds["classes"][0] is None


def test_figures_without_thresholds_are_taken_as_they_are(tmp_path: Path) -> None:
    measured = read_measured(written(tmp_path, {"AP": 0.5, "classes": {}}), CLASSES, LEVEL_NAMES)
    assert (measured.accuracy, measured.thresholds, measured.reference) == ({"AP": 0.5}, None, None)


def test_figures_of_other_classes_are_refused(tmp_path: Path, figures: dict[str, Any]) -> None:
    path = written(tmp_path, figures)
    with pytest.raises(UnfitMeasurement, match=r"accuracy\.json: .* says nothing of 'blue'"):
        read_measured(path, ("red", "blue"), LEVEL_NAMES)


@pytest.mark.parametrize("content", ["", "[]", "no json", '{"thresholds": 3}'])
def test_what_is_not_of_an_evaluation_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "accuracy.json"
    path.write_text(content)
    with pytest.raises(UnfitMeasurement, match="expected the JSON of fpn-eval"):
        read_measured(path, CLASSES, LEVEL_NAMES)
