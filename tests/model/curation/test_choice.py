import json
import tomllib
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from model.config.detector import AnchorConfig
from model.config.files import load_config
from model.curation.anchors import fitted
from model.curation.begin import begin, toml_lines
from model.curation.choice import chosen
from model.data.coco import CocoDataset
from model.data.formats.splits import find_splits
from tests.model.conftest import CocoFolder
from tests.model.data.formats.copies import as_voc
from tests.model.small import coloured_rectangles


def squares(side: float, ratio: float = 1.0, count: int = 20) -> npt.NDArray[np.float32]:
    return np.array([[0, 0, side, side * ratio]] * count, dtype=np.float32)


def test_boxes_that_the_papers_anchors_fit_keep_them() -> None:
    boxes = np.concatenate([squares(size) for size in AnchorConfig().sizes])
    fit = fitted(boxes)
    assert (fit.sizes, fit.ratios) == (AnchorConfig().sizes, AnchorConfig().ratios)
    assert fit.overlap == pytest.approx(1.0)


def test_small_boxes_get_small_anchors_and_long_ones_long_ones() -> None:
    assert fitted(squares(10)).sizes[0] == 10
    long = fitted(squares(96 / 3**0.5, ratio=3.0))
    assert 3.0 in long.ratios
    assert long.overlap > long.default


def dataset(folder: CocoFolder, side: int, count: int = 3) -> CocoDataset:
    """Photographs of 480 x 640 with objects of `side`."""
    for number in range(count):
        folder.add_box(folder.add_image(f"{number}.png", (480, 640)), [9, 9, side, side])
    return folder.read()


def test_a_cpu_and_a_gpu_get_networks_of_their_own(folder: CocoFolder) -> None:
    data = dataset(folder, 100)
    cpu, gpu = chosen(data, gpu=False), chosen(data, gpu=True)
    assert cpu.values["model"]["backbone"]["name"] == "mobilenet_v2"
    assert gpu.values["model"]["backbone"]["name"] == "resnet50"
    assert cpu.values["model"]["resize"]["short_side"] == 320
    assert gpu.values["model"]["resize"]["short_side"] == 480  # no more than the photographs have


def test_small_objects_are_seen_larger(folder: CocoFolder) -> None:
    assert chosen(dataset(folder, 16), gpu=False).values["model"]["resize"]["short_side"] == 480


def test_few_photographs_are_seen_often_and_the_schedule_fits_its_steps(
    folder: CocoFolder,
) -> None:
    schedule = chosen(dataset(folder, 50), gpu=False).values["schedule"]
    assert schedule["steps"] * schedule["batch_size"] >= 1600
    assert schedule["warmup_steps"] < schedule["decay_steps"][0] < schedule["decay_steps"][1]
    assert schedule["decay_steps"][1] < schedule["steps"]


def test_what_is_written_is_read_back_the_same() -> None:
    values = {"name": 'a "b" ü', "n": 3, "x": {"y": {"z": [1.5, 2.0], "t": True}}, "e": 0.1}
    assert tomllib.loads("\n".join(toml_lines(values))) == values


def test_a_run_is_begun_with_validation_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    coloured_rectangles(tmp_path / "source", 10)
    as_voc(tmp_path / "source", tmp_path, "photos")
    config = load_config(begin(tmp_path / "photos", tmp_path / "run", gpu=False))
    parts = []
    for split in ("train", "val"):
        document = json.loads((tmp_path / "run" / "data" / f"{split}.json").read_text())
        parts.append({image["file_name"] for image in document["images"]})
    assert (len(parts[0]), len(parts[1])) == (8, 2)
    assert not parts[0] & parts[1]
    assert config.data.train_images == tmp_path / "photos"
    (whole,) = find_splits(tmp_path / "photos")
    assert parts[0] | parts[1] == {image.file_name for image in whole.document.images}
