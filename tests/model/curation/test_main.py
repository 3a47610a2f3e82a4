"""fpn-data on folders made here."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model.curation.__main__ import main
from model.data.annotations import read_document
from model.data.coco import CocoDataset
from model.data.pictures import read_image, read_size
from tests.model.data.formats.copies import as_coco, as_voc, as_yolo, images_of
from tests.model.small import coloured_rectangles


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Six images: 001 to 006."""
    root = tmp_path / "source"
    root.mkdir()
    coloured_rectangles(root, 6)
    return root


@pytest.fixture
def photos(source: Path, tmp_path: Path) -> Path:
    """The same in VOC's form, without splits."""
    as_voc(source, tmp_path, "photos")
    return tmp_path / "photos"


def save_again(path: Path, other: Path) -> None:
    """The same picture larger and in worse quality."""
    with Image.open(path) as stored:
        image = stored.convert("RGB")
    image.resize((2 * image.width, 2 * image.height)).save(other, quality=60)


def test_a_check_counts_boxes_by_class_and_size_and_draws_them(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    as_yolo(source, tmp_path / "yolo", "train")
    as_yolo(source, tmp_path / "yolo", "valid")
    document = read_document(source / "train.json")
    pictures = tmp_path / "pictures"
    assert main(["check", str(tmp_path / "yolo"), "--pictures", str(pictures)]) == 0
    printed = capsys.readouterr().out
    assert f"6 images (0 without boxes), {len(document.annotations)} boxes" in printed
    rows = [line.split() for line in printed.splitlines() if line.startswith(("red", "green"))]
    counts = {
        c.name: sum(a.category_id == c.id for a in document.annotations)
        for c in document.categories
    }
    assert {row[0]: int(row[1]) for row in rows} == {k: counts[k] for k in ("red", "green")}
    assert all(int(row[1]) == sum(map(int, row[2:5])) for row in rows)
    assert "leak: 6 photographs of val are in train too: 001.png = 001.png" in printed
    drawn = np.asarray(read_image(pictures / "train.jpg"))
    assert drawn.shape[0] > 96
    assert drawn.shape[1] > 4 * 64


def test_a_picture_saved_again_under_another_name_is_found(
    source: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", str(photos)]) == 0
    assert "no photograph is the same picture as another" in capsys.readouterr().out
    save_again(photos / "002.png", photos / "copy.jpg")
    text = (photos / "002.xml").read_text()
    size = text.partition("<size>")[2].partition("</size>")[0]
    text = text.replace("002.png", "copy.jpg").replace(f"<size>{size}</size>", "")
    (photos / "copy.xml").write_text(text)
    assert main(["check", str(photos)]) == 0
    assert (
        "1 pairs of photographs are the same picture: 002.png = copy.jpg" in capsys.readouterr().out
    )


def test_a_check_names_what_is_wrong(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (photos / "003.png").unlink()
    assert main(["check", str(photos)]) == 0
    assert "images missing (skipped): 1: 003.png" in capsys.readouterr().out


def test_a_split_keeps_the_same_picture_in_one_part_and_every_image_in_some(
    source: Path, tmp_path: Path
) -> None:
    root = tmp_path / "coco"
    as_coco(source, root, "photos")
    folder = root / "photos"
    save_again(folder / "002.png", folder / "copy.jpg")
    labels = folder / "_annotations.coco.json"
    document = json.loads(labels.read_text())
    height, width = read_size(folder / "copy.jpg")
    document["images"].append({"id": 99, "file_name": "copy.jpg", "width": width, "height": height})
    labels.write_text(json.dumps(document))
    for seed in range(4):
        out = tmp_path / f"split{seed}"
        assert (
            main(["split", str(folder), "--out", str(out), "--val", "0.3", "--seed", str(seed)])
            == 0
        )
        parts = [
            {i.file_name for i in read_document(out / f"{name}.json").images}
            for name in ("train", "val")
        ]
        assert parts[0] | parts[1] == {i["file_name"] for i in document["images"]}
        assert not parts[0] & parts[1]
        assert any({"002.png", "copy.jpg"} <= part for part in parts)
        CocoDataset.read(out / "val.json", folder)


def test_a_split_by_group_keeps_each_whole(photos: Path, tmp_path: Path) -> None:
    group = "00([123])?"  # 1, 2, 3 and the rest
    options = ["--val", "0.2", "--test", "0.2", "--group-by", group]
    assert main(["split", str(photos), "--out", str(tmp_path / "split"), *options]) == 0
    parts = {
        name: {i.file_name for i in read_document(tmp_path / "split" / f"{name}.json").images}
        for name in ("train", "val", "test")
    }
    rest = {"004.png", "005.png", "006.png"}
    assert all(rest <= part or not rest & part for part in parts.values())
    assert all(parts.values())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--group-by", "frame"], "--group-by frame: does not match 001.png"),
        (["--group-by", "0"], "1 groups of photographs are too few for 2 parts"),
    ],
)
def test_a_split_that_cannot_be_is_refused(
    photos: Path,
    tmp_path: Path,
    options: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["split", str(photos), "--out", str(tmp_path / "split"), *options]) == 2
    assert message in capsys.readouterr().err


def test_what_is_split_already_is_not_split_again(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for split in ("train", "valid"):
        as_coco(source, tmp_path / "coco", split)
    assert main(["split", str(tmp_path / "coco"), "--out", str(tmp_path / "split")]) == 2
    assert "is split already, into train, val" in capsys.readouterr().err


def test_coco_files_say_the_same_as_what_they_were_made_of(
    source: Path, photos: Path, tmp_path: Path
) -> None:
    assert main(["to-coco", str(photos), "--out", str(tmp_path / "coco")]) == 0
    assert images_of(read_document(tmp_path / "coco" / "all.json")) == images_of(
        read_document(source / "train.json")
    )
