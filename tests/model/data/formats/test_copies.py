"""The same labels in every format are the same annotations, and the same losses."""

import json
import random
from pathlib import Path

import numpy as np
import pytest

from model.data.annotations import Document
from model.data.formats.splits import find_splits
from model.train import main
from tests.model.data.formats.copies import WRITERS, images_of
from tests.model.small import coloured_rectangles, run_values
from tests.places import SHARED

pytestmark = pytest.mark.usefixtures("one_thread")

BCCD = SHARED / "data" / "bccd"


def made(root: Path) -> Path:
    """Ten images, with classes in the order of their names: in some formats they have no other."""
    coloured_rectangles(root, 10)
    document = json.loads((root / "train.json").read_text())
    numbers = {1: 3, 2: 2, 3: 1}  # red, green, blue
    for entry in document["annotations"]:
        entry["category_id"] = numbers[entry["category_id"]]
    names = {1: "blue", 2: "green", 3: "red"}
    document["categories"] = [{"id": number, "name": name} for number, name in names.items()]
    (root / "train.json").write_text(json.dumps(document))
    return root


def some_of_bccd(root: Path) -> Path:
    """Twenty of bccd's photographs, as `made`."""
    whole = json.loads((BCCD / "annotations" / "instances_val_clean.json").read_text())
    names = sorted(category["name"] for category in whole["categories"])
    numbers = {c["id"]: 1 + names.index(c["name"]) for c in whole["categories"]}
    images = sorted(random.Random(1).sample(whole["images"], 20), key=lambda i: str(i["file_name"]))
    for image in images:
        path = BCCD / "images" / image["file_name"]
        (root / image["file_name"]).write_bytes(path.read_bytes())
    ids = {image["id"] for image in images}
    boxes = [a for a in whole["annotations"] if a["image_id"] in ids]
    boxes = [a | {"category_id": numbers[a["category_id"]]} for a in boxes]
    categories = [{"id": number, "name": name} for number, name in enumerate(names, 1)]
    document = {"images": images, "annotations": boxes, "categories": categories}
    (root / "train.json").write_text(json.dumps(document))
    return root


@pytest.fixture(scope="module", params=["made", "bccd"])
def source(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp(request.param)
    if request.param == "bccd" and not BCCD.exists():
        pytest.skip(f"no {BCCD}")
    return made(root) if request.param == "made" else some_of_bccd(root)


def assert_same(found: Document, expected: Document) -> None:
    assert [c.name for c in found.categories] == [c.name for c in expected.categories]
    for ours, theirs in zip(images_of(found), images_of(expected), strict=True):
        assert ours[:3] == theirs[:3]
        assert [box[0] for box in ours[3]] == [box[0] for box in theirs[3]]
        corners, others = (np.array([box[1:] for box in boxes]) for boxes in (ours[3], theirs[3]))
        assert np.allclose(corners, others, atol=2e-3)  # six digits of a side


@pytest.mark.parametrize("format", WRITERS)
def test_the_labels_are_the_same_in_every_format(source: Path, tmp_path: Path, format: str) -> None:
    WRITERS["coco"](source, tmp_path / "expected", "train")
    for split in ("train", "valid"):
        WRITERS[format](source, tmp_path / format, split)
    (expected,) = find_splits(tmp_path / "expected")
    splits = find_splits(tmp_path / format)
    assert [(split.name, split.format) for split in splits] == [("train", format), ("val", format)]
    for found in splits:
        assert_same(found.document, expected.document)
        assert all((found.images / image.file_name).is_file() for image in found.document.images)


@pytest.fixture(scope="module")
def losses(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, float]]:
    """Of two steps on the COCO form."""
    folder = tmp_path_factory.mktemp("losses")
    return trained(made(folder), folder, "train.json", ".")


def trained(root: Path, out: Path, annotations: str, images: str) -> list[dict[str, float]]:
    values = run_values(root, 2)
    values["data"] |= {"train_annotations": annotations, "train_images": images}
    (out / "run.json").write_text(json.dumps(values))
    assert main([str(out / "run.json"), "--out", str(out / "run"), "--device", "cpu"]) == 0
    lines = (out / "run" / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k != "images_per_s"} for line in lines]


PLACES = {
    "yolo": ("data.yaml", "train/images"),
    "voc": ("train", "train"),
    "csv": ("train/_annotations.csv", "train"),
}


@pytest.mark.parametrize("format", PLACES)
def test_the_losses_are_the_same_in_every_format(
    losses: list[dict[str, float]], tmp_path: Path, format: str
) -> None:
    (tmp_path / "source").mkdir()
    WRITERS[format](made(tmp_path / "source"), tmp_path / "copy", "train")
    for one, other in zip(
        trained(tmp_path / "copy", tmp_path, *PLACES[format]), losses, strict=True
    ):
        assert one == pytest.approx(other, rel=1e-3, abs=1e-6)
