"""Pictures and COCO folders made on the spot, so that the tests run anywhere."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from model.coco import CocoDataset
from model.transforms import Size


def noise(size: Size, seed: int = 0) -> Image.Image:
    """An RGB picture of which no two regions are alike, so that no mix-up goes unseen."""
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


class CocoFolder:
    """A COCO data set in the making; change `document` at will before `read`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.json = root / "instances.json"
        self.document: dict[str, Any] = {
            "images": [],
            "annotations": [],
            "categories": [{"id": 7, "name": "dog"}, {"id": 3, "name": "cat"}],
        }

    def add_image(self, name: str, size: Size, picture: Image.Image | None = None) -> int:
        """Its image id: 10, 20, ... in the order of the calls."""
        image_id = 10 * (len(self.document["images"]) + 1)
        (picture or noise(size, image_id)).save(self.root / name)
        height, width = size
        entry = {"id": image_id, "file_name": name, "width": width, "height": height}
        self.document["images"].append(entry)
        return image_id

    def add_box(
        self, image_id: int, bbox: Sequence[float], category_id: int = 3, **more: object
    ) -> None:
        """Add x, y, width, height; annotation ids are 1, 2, ..."""
        number = len(self.document["annotations"]) + 1
        entry = {"id": number, "image_id": image_id, "category_id": category_id}
        self.document["annotations"].append(entry | {"bbox": list(bbox)} | more)

    def read(self, *, skip_empty: bool = False, verify: bool = False) -> CocoDataset:
        """Write the json and read the whole."""
        self.json.write_text(json.dumps(self.document))
        return CocoDataset.read(self.json, self.root, skip_empty=skip_empty, verify=verify)


@pytest.fixture
def folder(tmp_path: Path) -> CocoFolder:
    return CocoFolder(tmp_path)
