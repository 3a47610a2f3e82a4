"""How a detector is scored on a data set: what it finds, and how that is told."""

import math

import pytest
from PIL import Image

from model.data.faults import DataError
from model.evaluation.detection_metrics import class_rows
from model.evaluation.evaluation import evaluate
from model.evaluation.feeding import Loading
from tests.model.colours import LEVEL_NAMES, ColourDetector
from tests.model.conftest import CocoFolder

LOADING = Loading(batch_size=2)


def test_a_detector_that_is_right_in_its_frames_is_right_in_the_photographs(
    coloured: CocoFolder,
) -> None:
    metrics = evaluate(ColourDetector(), coloured.read(), LOADING).metrics
    assert metrics.ap50_per_class == pytest.approx({"green": 1.0, "red": 1.0})
    assert metrics.AP75 > 0.999
    assert metrics.AP > 0.9


def test_proposals_are_scored_in_the_photographs_together_and_by_level(
    coloured: CocoFolder,
) -> None:
    found = evaluate(ColourDetector(), coloured.read(), LOADING, proposals=True)
    recall = {name: metrics.AR100 for name, metrics in found.proposals.items()}
    assert recall["all"] > 0.9
    assert recall["P2"] == pytest.approx(recall["P5"], abs=0.1)  # half of the boxes each
    assert recall["P2"] + recall["P5"] == pytest.approx(recall["all"])
    assert (recall["P3"], recall["P4"], recall["P6"]) == (0, 0, 0)


def test_classes_are_matched_by_name(coloured: CocoFolder) -> None:
    named_wrongly = ColourDetector(class_names=("green", "red"))
    metrics = evaluate(named_wrongly, coloured.read(), LOADING).metrics
    assert metrics.ap50_per_class["green"] < 0.2


@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_the_batch_size_changes_no_figure(coloured: CocoFolder, batch_size: int) -> None:
    dataset = coloured.read()
    figures = evaluate(ColourDetector(), dataset, Loading(batch_size)).metrics.scalars()
    assert figures == evaluate(ColourDetector(), dataset, LOADING).metrics.scalars()


def test_the_classes_that_both_have_are_scored_as_if_there_were_no_others(
    coloured: CocoFolder,
) -> None:
    whole = evaluate(ColourDetector(), coloured.read(), LOADING).metrics
    detector = ColourDetector(class_names=("red", "unused 12"))
    metrics = evaluate(detector, coloured.read(), LOADING).metrics
    assert metrics.ap_per_class["red"] == whole.ap_per_class["red"]
    assert metrics.ap_per_class["green"] == 0


def test_a_class_without_boxes_has_no_figure(coloured: CocoFolder) -> None:
    coloured.document["categories"].append({"id": 9, "name": "blue"})
    metrics = evaluate(ColourDetector(), coloured.read(), LOADING).metrics
    assert math.isnan(metrics.ap_per_class["blue"])
    assert metrics.AP > 0.9
    assert class_rows(metrics)["blue"] == {"AP": "-", "AP50": "-", "boxes": "0"}


def test_a_detector_of_other_classes_is_refused(coloured: CocoFolder) -> None:
    detector = ColourDetector(class_names=("left", "right"))
    with pytest.raises(DataError, match=r"detector has 2: left, right and the data set 2: green"):
        evaluate(detector, coloured.read(), LOADING)


def test_a_detector_that_finds_nothing_scores_zero(coloured: CocoFolder) -> None:
    dataset = coloured.read()
    for record in dataset.records:
        Image.new("RGB", record.size[::-1]).save(record.path)
    metrics = evaluate(ColourDetector(), dataset, LOADING).metrics
    assert set(metrics.scalars().values()) == {0.0}


def test_the_text_and_the_json_have_proposals_only_when_they_were_measured(
    coloured: CocoFolder,
) -> None:
    dataset = coloured.read()
    without = evaluate(ColourDetector(), dataset, LOADING)
    found = evaluate(ColourDetector(), dataset, LOADING, proposals=True)
    assert "proposals" not in str(without)
    assert "proposals" not in without.as_json()
    assert str(found).startswith(str(without))
    assert "\nproposals " in str(found)
    assert list(found.as_json()["proposals"]) == ["all", *LEVEL_NAMES]
