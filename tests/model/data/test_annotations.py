import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from model.data.annotations import read_document
from model.data.faults import DataError
from tests.model.conftest import CocoFolder

Document = dict[str, Any]


def written(folder: CocoFolder) -> Path:
    folder.json.write_text(json.dumps(folder.document))
    return folder.json


def test_what_a_file_says_is_read_and_keys_that_are_not_needed_are_ignored(
    folder: CocoFolder,
) -> None:
    folder.add_box(folder.add_image("a.png", (20, 45)), [1, 2, 5, 6.5], segmentation=[[1, 2, 3]])
    folder.document["licenses"] = [{"id": 1}]
    document = read_document(written(folder))
    (image,), (annotation,) = document.images, document.annotations
    assert (image.file_name, image.height, image.width) == ("a.png", 20, 45)
    assert (annotation.bbox, annotation.area, annotation.iscrowd) == ((1, 2, 5, 6.5), None, 0)
    assert [category.name for category in document.categories] == ["dog", "cat"]


def _repeat(section: str, **changes: object) -> Callable[[Document], None]:
    return lambda document: document[section].append(document[section][0] | changes)


def _change(section: str, **changes: object) -> Callable[[Document], None]:
    return lambda document: document[section][0].update(changes)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_repeat("images", file_name="b.png"), "images share an id: 1: 10"),
        (_repeat("images", id=11), r"images share a file_name: 1: 'a\.png'"),
        (_repeat("annotations"), "annotations share an id: 1: 1"),
        (_repeat("categories", name="cow"), "categories share an id: 1: 7"),
        (_repeat("categories", id=8), "categories share a name: 1: 'dog'"),
        (_change("annotations", image_id=99), r"unknown images: 1: annotation 1 \(image_id 99\)"),
        (
            _change("annotations", category_id=5),
            r"unknown categories: 1: annotation 1 of a\.png \(category_id 5\)",
        ),
        (_change("annotations", bbox=[1, 2, 3]), r"annotations\.0\.bbox\.3"),
        (_change("annotations", bbox=[1, 2, 3, "4"]), r"annotations\.0\.bbox\.3"),
        (_change("images", width="45"), r"images\.0\.width"),
        (_change("images", height=0), r"images\.0\.height"),
        (lambda document: document.pop("categories"), r"categories \(Field required\)"),
        (lambda document: document["images"][0].pop("id"), r"images\.0\.id \(Field required\)"),
    ],
)
def test_a_file_that_does_not_fit_together_is_refused(
    folder: CocoFolder, spoil: Callable[[Document], None], message: str
) -> None:
    folder.add_box(folder.add_image("a.png", (20, 45)), [1, 1, 5, 5])
    spoil(folder.document)
    with pytest.raises(DataError, match=message):
        read_document(written(folder))


def test_a_refusal_names_ten_offenders_and_counts_all(folder: CocoFolder) -> None:
    image_id = folder.add_image("a.png", (20, 45))
    for _ in range(12):
        folder.add_box(image_id, [1, 1, 5, 5], category_id=99)
    with pytest.raises(DataError) as refusal:
        read_document(written(folder))
    message = str(refusal.value)
    assert "unknown categories: 12: annotation 1 of a.png (category_id 99), " in message
    assert message.endswith("annotation 10 of a.png (category_id 99), ...")


@pytest.mark.parametrize("text", ["", "[1, 2", "[]", '{"images": []}', "\x00\xff"])
def test_a_file_that_is_no_coco_json_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "instances.json"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(DataError, match=r"instances\.json: not a COCO file"):
        read_document(path)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.json: cannot be read: No such file"):
        read_document(tmp_path / "none.json")
