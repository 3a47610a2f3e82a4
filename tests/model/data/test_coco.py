import json
import logging

import numpy as np
import pytest
from PIL import ExifTags, Image

from model.data.coco import CocoDataset
from model.data.faults import DataError, Fault
from tests.model.conftest import CocoFolder, noise
from tests.places import SHARED

DATA = SHARED / "data"


def test_boxes_are_corners_and_labels_follow_the_category_ids(folder: CocoFolder) -> None:
    image_id = folder.add_image("a.png", (20, 45))
    folder.add_box(image_id, [5, 3, 30, 10.5], category_id=7)
    folder.add_box(image_id, [0, 0, 45, 20], category_id=3)
    dataset = folder.read()
    (record,) = dataset.records
    assert dataset.class_names == ("cat", "dog")
    assert dataset.category_ids == (3, 7)
    assert record.boxes.dtype == np.float32
    assert record.boxes.tolist() == [[5, 3, 35, 13.5], [0, 0, 45, 20]]
    assert record.labels.tolist() == [1, 0]
    assert (record.image_id, record.size) == (10, (20, 45))


def test_loading_gives_the_image_with_its_boxes_and_labels(folder: CocoFolder) -> None:
    folder.add_image("a.png", (8, 12))
    folder.add_box(folder.add_image("b.png", (20, 45), noise((20, 45), 1)), [5, 3, 30, 10])
    image, boxes, labels = folder.read().load(1)
    assert np.array_equal(np.asarray(image), np.asarray(noise((20, 45), 1)))
    assert boxes.tolist() == [[5, 3, 35, 13]]
    assert labels.tolist() == [0]


def test_an_empty_image_is_kept_with_empty_targets(folder: CocoFolder) -> None:
    folder.add_image("a.png", (20, 45))
    dataset = folder.read()
    _, boxes, labels = dataset.load(0)
    assert boxes.shape == (0, 4)
    assert labels.shape == (0,)
    assert dataset.inventory.images_without_boxes == 1


def test_skip_empty_leaves_out_images_without_targets(folder: CocoFolder) -> None:
    folder.add_image("empty.png", (20, 45))
    folder.add_box(folder.add_image("crowd.png", (20, 45)), [1, 1, 9, 9], iscrowd=1)
    folder.add_box(folder.add_image("one.png", (20, 45)), [1, 1, 9, 9])
    dataset = folder.read(skip_empty=True)
    assert [record.path.name for record in dataset.records] == ["one.png"]
    assert [image["file_name"] for image in dataset.ground_truth["images"]] == ["one.png"]


def test_crowds_are_in_the_ground_truth_and_no_targets(folder: CocoFolder) -> None:
    image_id = folder.add_image("a.png", (20, 45))
    folder.add_box(image_id, [1, 2, 9, 8], iscrowd=1)
    folder.add_box(image_id, [3, 4, 5, 6], iscrowd=0)
    dataset = folder.read()
    assert dataset.records[0].boxes.tolist() == [[3, 4, 8, 10]]
    assert [a["iscrowd"] for a in dataset.ground_truth["annotations"]] == [1, 0]
    assert dataset.inventory.crowd_boxes == 1


@pytest.mark.parametrize(
    ("bbox", "fault", "clipped"),
    [
        ([-5, -2, 20, 12], Fault.CLIPPED, [0, 0, 15, 10]),
        ([40, 15, 20, 12], Fault.CLIPPED, [40, 15, 45, 20]),
        ([0, 0, 45, 20], None, [0, 0, 45, 20]),
        ([5, 5, 0, 3], Fault.NO_AREA, None),
        ([5, 5, 3, -1], Fault.NO_AREA, None),
        ([float("nan"), 5, 3, 3], Fault.NO_AREA, None),
        ([5, 5, float("inf"), 3], Fault.NO_AREA, None),
        ([5, 5, 1e-12, 3], Fault.NO_AREA, None),
        ([5, 5, 1e-20, 3], Fault.NO_AREA, None),
        ([1e308, -1e308, 1e308, 1e308], Fault.NO_AREA, None),
        ([-1e300, -1e300, 1e301, 1e301], Fault.CLIPPED, [0, 0, 45, 20]),
        ([45, 5, 3, 3], Fault.OUTSIDE, None),
        ([5, -9, 3, 8], Fault.OUTSIDE, None),
    ],
)
def test_a_bad_box_is_clipped_or_skipped_and_counted(
    folder: CocoFolder, bbox: list[float], fault: Fault | None, clipped: list[float] | None
) -> None:
    image_id = folder.add_image("a.png", (20, 45))
    folder.add_box(image_id, bbox)
    dataset = folder.read()
    assert dataset.records[0].boxes.tolist() == ([] if clipped is None else [clipped])
    assert dataset.inventory.faults == ({fault: ["annotation 1 of a.png"]} if fault else {})


def test_scoring_uses_boxes_and_areas_as_the_file_gives_them(folder: CocoFolder) -> None:
    image_id = folder.add_image("a.png", (20, 45))
    folder.add_box(image_id, [-5, -2, 20, 12], area=77.5)
    folder.add_box(image_id, [1, 1, 9, 8])
    folder.add_box(image_id, [5, 5, 0, 3])
    scored = folder.read().ground_truth["annotations"]
    assert [a["bbox"] for a in scored] == [[-5, -2, 20, 12], [1, 1, 9, 8]]
    assert [a["area"] for a in scored] == [77.5, 72]


def test_images_that_are_missing_or_unreadable_are_skipped_and_logged_once_a_kind(
    folder: CocoFolder, caplog: pytest.LogCaptureFixture
) -> None:
    folder.add_image("good.png", (20, 45))
    for name in ("a.png", "b.png", "c.png", "d.png"):
        folder.add_box(folder.add_image(name, (8, 9)), [1, 1, 5, 5])
        (folder.root / name).unlink()
    folder.add_image("broken.png", (8, 9))
    (folder.root / "broken.png").write_bytes(b"\x89PNG\r\n")
    with caplog.at_level(logging.WARNING):
        dataset = folder.read()
    assert [record.path.name for record in dataset.records] == ["good.png"]
    assert not dataset.ground_truth["annotations"]
    messages = [record.getMessage().removeprefix(f"{folder.json}: ") for record in caplog.records]
    assert messages == [
        "images missing (skipped): 4: a.png, b.png, c.png, ...",
        "images unreadable (skipped): 1: broken.png",
    ]


def test_a_size_that_is_not_the_upright_images_is_refused(folder: CocoFolder) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    folder.add_image("turned.png", (20, 45))
    noise((20, 45)).save(folder.root / "turned.png", exif=exif)
    with pytest.raises(DataError, match=r"turned\.png \(json \(20, 45\), image \(45, 20\)\)"):
        folder.read()


def test_a_set_of_which_no_image_can_be_used_is_refused(folder: CocoFolder) -> None:
    folder.add_image("a.png", (20, 45))
    (folder.root / "a.png").unlink()
    with pytest.raises(DataError, match=r"none of the images is there: 1: .*a\.png$"):
        folder.read()


def test_images_whose_names_repeat_the_folder_are_found_by_the_message(folder: CocoFolder) -> None:
    folder.add_image("a.png", (20, 45))
    folder.document["images"][0]["file_name"] = "images/a.png"
    expected = r"none of the images is there: 1: .*images/a\.png; .*/a\.png is there"
    with pytest.raises(DataError, match=expected):
        folder.read()


def test_names_with_the_backslashes_of_windows_are_found(folder: CocoFolder) -> None:
    (folder.root / "images").mkdir()
    folder.add_image("images/a.png", (20, 45))
    folder.document["images"][0]["file_name"] = "images\\a.png"
    assert folder.read(verify=True).records[0].path == folder.root / "images" / "a.png"


def test_a_set_without_categories_is_refused(folder: CocoFolder) -> None:
    folder.add_image("a.png", (20, 45))
    folder.document["categories"] = []
    with pytest.raises(DataError, match="0 categories"):
        folder.read()


def test_an_image_that_cannot_be_decoded_is_refused_when_it_is_loaded(folder: CocoFolder) -> None:
    folder.add_image("a.jpg", (60, 90))
    path = folder.root / "a.jpg"
    path.write_bytes(path.read_bytes()[:2000])
    dataset = folder.read()
    with pytest.raises(DataError, match=r"a\.jpg: cannot be decoded: .*truncated"):
        dataset.load(0)


def test_verifying_skips_and_counts_an_image_that_cannot_be_decoded(folder: CocoFolder) -> None:
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        folder.add_box(folder.add_image(name, (60, 90)), [5, 3, 30, 10])
    path = folder.root / "b.jpg"
    path.write_bytes(path.read_bytes()[:2000])
    dataset = folder.read(verify=True)
    assert [record.path.name for record in dataset.records] == ["a.jpg", "c.jpg"]
    assert dataset.inventory.faults == {Fault.UNREADABLE: ["b.jpg"]}
    assert [entry["file_name"] for entry in dataset.ground_truth["images"]] == ["a.jpg", "c.jpg"]


def test_the_digest_tells_data_sets_apart_by_what_training_sees(folder: CocoFolder) -> None:
    folder.add_box(folder.add_image("a.png", (20, 45)), [5, 3, 30, 10])
    before = folder.read().digest
    assert folder.read().digest == before
    folder.document["annotations"][0]["bbox"][0] = 6
    assert folder.read().digest != before
    folder.document["annotations"][0]["bbox"][0] = 5
    folder.add_image("b.png", (20, 45))
    assert folder.read().digest != before


def test_an_image_that_changed_since_is_refused_when_it_is_loaded(folder: CocoFolder) -> None:
    folder.add_image("a.png", (20, 45))
    dataset = folder.read()
    noise((45, 20)).save(folder.root / "a.png")
    with pytest.raises(DataError, match=r"a\.png: decoded to .*\(45, 20\).*\(20, 45\)"):
        dataset.load(0)


@pytest.mark.parametrize(
    "split", ["voc-mini/train", "voc-mini/val", "bccd/train_clean", "aquarium/test"]
)
def test_the_shared_sets_load_whole(split: str) -> None:
    name, part = split.split("/")
    annotations = DATA / name / "annotations" / f"instances_{part}.json"
    if not annotations.exists():
        pytest.skip(f"no {annotations}: the shared data sets are not here")
    dataset = CocoDataset.read(annotations, DATA / name / "images")
    document = json.loads(annotations.read_bytes())
    assert len(dataset) == len(document["images"])
    boxes = dataset.inventory.boxes + dataset.inventory.crowd_boxes
    assert boxes == len(document["annotations"])
