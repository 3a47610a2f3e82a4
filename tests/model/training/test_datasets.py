import json
from pathlib import Path

import pytest

from model.config.training import DataConfig
from model.data.faults import DataError
from model.training.datasets import read_datasets
from tests.model.small import coloured_rectangles

TRAIN = Path("train.json")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    coloured_rectangles(tmp_path, 4)
    return tmp_path


def rewritten(root: Path, name: str, **changes: object) -> Path:
    """A copy of the COCO file, called `name`, with other values for some keys."""
    document = json.loads((root / TRAIN).read_text()) | changes
    (root / name).write_text(json.dumps(document))
    return Path(name)


def test_without_validation_there_is_only_what_is_trained_on(root: Path) -> None:
    datasets = read_datasets(DataConfig(root, TRAIN, Path()))
    assert len(datasets.training) == 4
    assert (datasets.validation, datasets.train_proposals, datasets.val_proposals) == (None,) * 3


def test_a_validation_set_of_other_classes_is_refused_with_both_lists(root: Path) -> None:
    categories = [{"id": n, "name": name} for n, name in enumerate(("one", "two", "three"), 1)]
    other = rewritten(root, "val.json", categories=categories)
    with pytest.raises(DataError, match=r"val\.json: expected .*3: red, green, blue, got 3: one"):
        read_datasets(DataConfig(root, TRAIN, Path(), other, Path()))


def test_a_validation_set_may_have_other_ids_and_lack_a_class(root: Path) -> None:
    names = {1: "red", 2: "green", 3: "blue"}
    document = json.loads((root / TRAIN).read_text())
    others = [a | {"category_id": 90 - a["category_id"]} for a in document["annotations"]]
    fewer = [a for a in others if a["category_id"] != 88]  # no green
    categories = [{"id": 90 - n, "name": name} for n, name in names.items() if name != "green"]
    val = rewritten(root, "val.json", annotations=fewer, categories=categories)
    validation = read_datasets(DataConfig(root, TRAIN, Path(), val, Path())).validation
    assert validation is not None
    assert validation.class_names == ("blue", "red")


def test_sets_without_boxes_are_refused(root: Path) -> None:
    empty = rewritten(root, "empty.json", annotations=[])
    with pytest.raises(
        DataError, match=r"empty\.json: nothing to learn from: no boxes in 4 images"
    ):
        read_datasets(DataConfig(root, empty, Path()))
    with pytest.raises(DataError, match=r"empty\.json: no boxes, so nothing to score"):
        read_datasets(DataConfig(root, TRAIN, Path(), empty, Path()))


def test_a_class_that_cannot_be_learnt_is_said(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    categories = json.loads((root / TRAIN).read_text())["categories"]
    more = rewritten(root, "more.json", categories=[*categories, {"id": 9, "name": "grey"}])
    read_datasets(DataConfig(root, more, Path()))
    assert "classes without boxes, which cannot be learnt: 1: grey" in caplog.text
    data = DataConfig(root, more, Path(), without_classes=("grey", "blue"))
    assert read_datasets(data).training.class_names == ("red", "green")


def test_the_digest_is_of_what_is_trained_on_and_not_of_what_it_is_scored_on(root: Path) -> None:
    digest = read_datasets(DataConfig(root, TRAIN, Path())).digest
    annotations = json.loads((root / TRAIN).read_text())["annotations"]
    fewer = rewritten(root, "fewer.json", annotations=annotations[1:])
    assert read_datasets(DataConfig(root, TRAIN, Path(), fewer, Path())).digest == digest
    assert read_datasets(DataConfig(root, fewer, Path())).digest != digest
