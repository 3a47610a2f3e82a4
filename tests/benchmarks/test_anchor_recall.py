import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from benchmarks.anchor_recall import best_overlaps, recall
from model.config.files import load_config
from model.data.coco import CocoDataset
from model.study.__main__ import CONFIGS


def test_recall_is_the_mean_over_ten_thresholds() -> None:
    assert recall(torch.tensor([1.0, 0.0])) == pytest.approx(0.5)
    assert recall(torch.tensor([0.62])) == pytest.approx(0.3)  # of 0.50, 0.55 and 0.60


def test_an_object_in_the_place_of_an_anchor_is_covered(tmp_path: Path) -> None:
    """In a picture of twice the network's size, wider than high; areas are the photograph's."""
    config = load_config(CONFIGS / "table1c.toml")
    side, coarse = config.model.anchors.sizes[0], config.model.anchors.sizes[3]
    height, width = 2 * config.model.resize.short_side, 2 * 320
    Image.new("RGB", (width, height)).save(tmp_path / "a.png")
    boxes = [
        (600 - side, 128 - side, 2 * side, 2 * side),  # an anchor of P2, around (300, 64) in the network's pixels
        (0.0, 0.0, coarse, coarse),  # the quarter of P5's anchor around (0, 0) that is in the picture
        (3.0, 3.0, 2.0, 300.0),
    ]  # fmt: skip
    document = {
        "images": [{"id": 1, "file_name": "a.png", "height": height, "width": width}],
        "categories": [{"id": 1, "name": "thing"}],
        "annotations": [
            {"id": n, "image_id": 1, "category_id": 1, "bbox": box, "area": box[2] * box[3], "iscrowd": 0}
            for n, box in enumerate(boxes)
        ],
    }  # fmt: skip
    (tmp_path / "a.json").write_text(json.dumps(document))
    dataset = CocoDataset.read(tmp_path / "a.json", tmp_path)
    overlaps, areas = best_overlaps(config, dataset)
    assert overlaps[:2].tolist() == pytest.approx([1.0, 1.0])
    assert overlaps[2].item() < 0.2
    assert areas.tolist() == [(2 * side) ** 2, coarse**2, 600.0]
