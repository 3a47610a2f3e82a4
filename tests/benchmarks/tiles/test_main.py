"""Mosaics: photographs and boxes lie where their cells are, and both ways of looking are scored."""

import argparse
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.tiles.__main__ import main, make_mosaics
from tests.detectors import CLASS_NAMES
from tests.service.tiny_model import write_tiny_model

SIZES = [(40, 60), (30, 64), (50, 50), (40, 44), (20, 20)]


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Plain ones, each with a box around a corner of it."""
    images, boxes = [], []
    for number, (height, width) in enumerate(SIZES, 1):
        colour = (40 * number, 10, 10)
        Image.new("RGB", (width, height), colour).save(tmp_path / f"{number}.png")
        size = {"height": height, "width": width}
        images.append({"id": number, "file_name": f"{number}.png", **size})
        box = {"bbox": [2, 3, 10, 12], "area": 120, "iscrowd": 0, "category_id": 1}
        boxes.append({"id": number, "image_id": number, **box})
    categories = [{"id": n, "name": name} for n, name in enumerate(CLASS_NAMES, 1)]
    document = {"images": images, "annotations": boxes, "categories": categories}
    (tmp_path / "all.json").write_text(json.dumps(document))
    return tmp_path


def test_boxes_lie_on_the_photographs_that_they_are_of(photographs: Path, tmp_path: Path) -> None:
    options = argparse.Namespace(seed=0, grid=2, most=10)
    made = make_mosaics(photographs / "all.json", photographs, tmp_path / "out", options)
    document = json.loads(made.read_text())
    (image,) = document["images"]  # the fifth is left over
    assert len(document["annotations"]) == 4
    with Image.open(tmp_path / "out" / image["file_name"]) as mosaic:
        assert mosaic.size == (image["width"], image["height"])
        pixels = np.asarray(mosaic).astype(int)
    for each in document["annotations"]:
        x, y, width, height = each["bbox"]
        inside = pixels[y : y + height, x : x + width, 0]
        # All of one photograph, of which each is of another red.
        assert inside.std() < 4
        assert 30 < inside.mean() < 210


def test_the_command_prints_a_row_for_each_way(
    photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [
        str(write_tiny_model(tmp_path / "tiny.onnx")),
        str(photographs / "all.json"),
        str(photographs),
        str(tmp_path / "out"),
    ]
    assert main([*command, "--grid", "2", "--threads", "1"]) == 0
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines() if "tiles=" in line]
    assert [row[0] for row in rows] == ["| tiles=off", "| tiles=auto"]
    assert all(len(row) == 7 for row in rows)
