import shutil
from pathlib import Path

import pytest

from model.data.faults import DataError
from model.data.formats.splits import find_splits, split_name
from tests.model.data.formats.copies import as_coco, as_voc, as_yolo
from tests.model.small import coloured_rectangles


@pytest.fixture
def source(tmp_path: Path) -> Path:
    root = tmp_path / "source"
    root.mkdir()
    coloured_rectangles(root, 4)
    return root


def told(folder: Path) -> list[tuple[str, str, int]]:
    return [(s.name, s.format, len(s.document.images)) for s in find_splits(folder)]


@pytest.mark.parametrize(
    "images", ["images", "images/train", "train2017", "train", "annotations", "."]
)
def test_files_of_coco_find_their_images_in_the_usual_places(
    source: Path, tmp_path: Path, images: str
) -> None:
    root = tmp_path / "coco"
    (root / "annotations").mkdir(parents=True)
    shutil.copytree(source, root / images, dirs_exist_ok=True)
    shutil.move(root / images / "train.json", root / "annotations" / "instances_train2017.json")
    (split,) = find_splits(root)
    assert (split.name, split.images.resolve()) == ("train", (root / images).resolve())


def test_a_data_yaml_may_list_files_and_name_its_own_folder(source: Path, tmp_path: Path) -> None:
    root = tmp_path / "yolo"
    as_yolo(source, root, "train")
    (root / "first.txt").write_text("train/images/001.png\ntrain/images/003.png\n")
    names = "names: {0: red, 1: green, 2: blue}"
    (root / "data.yaml").write_text(f"path: .\ntrain: train/images\ntest: first.txt\n{names}\n")
    assert told(root) == [("train", "yolo", 4), ("test", "yolo", 2)]


def test_a_data_yaml_of_folders_that_are_not_there_is_refused(source: Path, tmp_path: Path) -> None:
    as_yolo(source, tmp_path / "yolo", "train")  # its data.yaml has a valid/ too
    with pytest.raises(DataError, match=r"data\.yaml: val: \.\./valid/images is not there"):
        find_splits(tmp_path / "yolo")


def test_the_lists_of_voc_are_its_splits(source: Path, tmp_path: Path) -> None:
    as_voc(source, tmp_path, "JPEGImages")
    lists = tmp_path / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    (tmp_path / "Annotations").mkdir()
    for path in (tmp_path / "JPEGImages").glob("*.xml"):
        path.rename(tmp_path / "Annotations" / path.name)
    (lists / "train.txt").write_text("001\n002 1\n004\n")
    (lists / "val.txt").write_text("003\n")
    assert told(tmp_path) == [("train", "voc", 3), ("val", "voc", 1)]


def test_labels_without_a_split_are_one(source: Path, tmp_path: Path) -> None:
    as_voc(source, tmp_path, "photos")
    assert told(tmp_path / "photos") == [("all", "voc", 4)]


def test_two_files_for_a_split_are_refused_by_their_names(source: Path, tmp_path: Path) -> None:
    as_coco(source, tmp_path, "images")
    (tmp_path / "annotations").mkdir()
    for name in ("train.json", "train_clean.json"):
        shutil.copy(source / "train.json", tmp_path / "annotations" / name)
    with pytest.raises(DataError, match=r"labels for train: 2: train\.json, train_clean\.json"):
        find_splits(tmp_path)


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("instances_train2017", "train"),
        ("my-valid.v2", "val"),
        ("Test", "test"),
        ("constrained", None),
        ("labels", None),
    ],
)
def test_a_split_is_a_word_of_a_name(name: str, split: str | None) -> None:
    assert split_name(name) == split


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected a folder of labelled photographs, got none"):
        find_splits(tmp_path / "absent")
