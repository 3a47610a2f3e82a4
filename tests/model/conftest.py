"""Images and COCO folders made on the spot, so that the tests run anywhere."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from model.config.resize import Size
from model.data.coco import CocoDataset
from model.data.image_files import ALONE
from tests.model.small import coloured_rectangles

RED, GREEN = 0, 1  # channels of `coloured`, and labels of its detector


def noise(size: Size, seed: int = 0) -> Image.Image:
    """An RGB image of which no two regions are alike, so that no mix-up goes unseen."""
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

    def add_image(self, name: str, size: Size, image: Image.Image | None = None) -> int:
        """Its image id: 10, 20, ... in the order of the calls."""
        image_id = 10 * (len(self.document["images"]) + 1)
        (image or noise(size, image_id)).save(self.root / name)
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
        return CocoDataset.read(
            self.json, self.root, skip_empty=skip_empty, verify=ALONE if verify else None
        )


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Sums in one order, and no quarrel with other processes; before what else a module's tests ask for."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of ten images of coloured rectangles, with their COCO json."""
    root = tmp_path_factory.mktemp("rectangles")
    coloured_rectangles(root, 10)
    return root


@pytest.fixture
def folder(tmp_path: Path) -> CocoFolder:
    return CocoFolder(tmp_path)


def add_rectangles(folder: CocoFolder, name: str, size: Size, boxes: dict[int, list[int]]) -> None:
    """Draw the boxes (x, y, width, height) of colour channels; category ids are 4 and 2."""
    pixels = np.zeros((*size, 3), dtype=np.uint8)
    for channel, (x, y, w, h) in boxes.items():
        pixels[y : y + h, x : x + w, channel] = 255
    image_id = folder.add_image(name, size, Image.fromarray(pixels))
    for channel, bbox in boxes.items():
        folder.add_box(image_id, bbox, category_id={RED: 4, GREEN: 2}[channel])


@pytest.fixture
def coloured(folder: CocoFolder) -> CocoFolder:
    """Images of all shapes, in an order of no help; the thread's two axes scale unlike."""
    folder.document["categories"] = [{"id": 4, "name": "red"}, {"id": 2, "name": "green"}]
    add_rectangles(
        folder, "wide.png", (256, 384), {RED: [20, 40, 120, 200], GREEN: [200, 8, 160, 90]}
    )
    add_rectangles(folder, "tall.png", (448, 256), {GREEN: [16, 200, 100, 220]})
    add_rectangles(folder, "square.png", (64, 64), {RED: [4, 8, 50, 30]})
    add_rectangles(folder, "empty.png", (256, 300), {})
    add_rectangles(folder, "long.png", (100, 896), {RED: [400, 20, 300, 72]})
    add_rectangles(folder, "thread.png", (6, 896), {GREEN: [200, 0, 480, 6]})
    add_rectangles(
        folder, "wide2.png", (300, 450), {GREEN: [30, 30, 390, 240], RED: [0, 0, 90, 300]}
    )
    return folder
