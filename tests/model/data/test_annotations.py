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
        (_change("categories", name=""), "category names that are empty, .*: 1: ''"),
        (_change("categories", name="dog "), "category names .*: 1: 'dog '"),
        (_change("categories", name="\ufeffdog"), r"category names .*: 1: '\\ufeffdog'"),
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


@pytest.mark.parametrize("text", ["", "[1, 2", "[]", '{"images": []}'])
def test_a_file_that_is_no_coco_json_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "instances.json"
    path.write_text(text)
    with pytest.raises(DataError, match=r"instances\.json: not a COCO file"):
        read_document(path)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_file_of_another_systems_editor_is_read(folder: CocoFolder, encoding: str) -> None:
    folder.document["categories"][0]["name"] = "Zählung"
    folder.add_image("a.png", (20, 45))
    folder.json.write_bytes(json.dumps(folder.document, ensure_ascii=False).encode(encoding))
    assert read_document(folder.json).categories[0].name == "Zählung"
    folder.json.write_bytes(json.dumps(folder.document, ensure_ascii=False).encode("latin-1"))
    with pytest.raises(
        DataError, match=r"instances\.json: expected text in UTF-8, got the byte 0xe4"
    ):
        read_document(folder.json)


def test_whole_numbers_and_truth_values_are_taken_however_they_are_written(
    folder: CocoFolder,
) -> None:
    folder.add_box(folder.add_image("a.png", (20, 45)), [1, 2, 5, 6], iscrowd=False)
    folder.add_box(10, [1, 2, 5, 6], iscrowd=1.0)
    folder.document["images"][0] |= {"width": 45.0, "height": 20.0, "id": 10.0}
    document = read_document(written(folder))
    assert (document.images[0].width, document.images[0].height, document.images[0].id) == (
        45,
        20,
        10,
    )
    assert [annotation.iscrowd for annotation in document.annotations] == [0, 1]


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [("images", "width", 45.5), ("images", "id", True), ("annotations", "iscrowd", 2)],
)
def test_what_is_no_whole_number_or_truth_value_is_refused_by_its_key(
    folder: CocoFolder, section: str, key: str, value: object
) -> None:
    folder.add_box(folder.add_image("a.png", (20, 45)), [1, 2, 5, 6])
    folder.document[section][0][key] = value
    with pytest.raises(DataError, match=rf"{section}\.0\.{key}"):
        read_document(written(folder))


def test_boxes_as_fractions_of_the_image_are_refused(folder: CocoFolder) -> None:
    image_id = folder.add_image("a.png", (20, 45))
    folder.add_box(image_id, [0.1, 0.2, 0.5, 0.6])
    folder.add_box(image_id, [0, 0, 1, 1])
    with pytest.raises(DataError, match="in pixels, got fractions of the image's sides"):
        read_document(written(folder))
    folder.add_box(image_id, [3, 4, 5, 6])
    assert len(read_document(written(folder)).annotations) == 3


def test_corners_given_as_width_and_height_are_refused(folder: CocoFolder) -> None:
    image_id = folder.add_image("a.png", (20, 45))
    for x in range(5):
        folder.add_box(image_id, [x + 10, 5, 45 - x, 18])
    with pytest.raises(DataError, match="looks like x1, y1, x2, y2: .*while 5 of 5 would reach"):
        read_document(written(folder))
    folder.add_box(image_id, [20, 5, 10, 4])  # no corners: its width is less than its x
    assert len(read_document(written(folder)).annotations) == 6


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.json: cannot be read: No such file"):
        read_document(tmp_path / "none.json")
