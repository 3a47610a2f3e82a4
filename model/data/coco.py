"""A detection data set: one COCO json and the folder that its file names start from.

What is wrong with the set as a whole is refused. What is wrong with one image or one box costs
that image or box, is logged once per kind, and is counted in `CocoDataset.inventory`:

    refused (DataError)   the json cannot be read, or a key is missing or of the wrong type
                          two images with one id or file name, annotations with one id,
                          categories with one id or name
                          an annotation of an unknown image or category
                          a width and height that are not the upright image's: its boxes cannot
                          be trusted (often EXIF rotation, or images that were resized since)
                          boxes in other units than x, y, width, height in pixels (annotations.py)
                          nothing to learn from: no categories, or no image that can be used
    left out, said        a category that only names the others (categories.py)
    skipped, counted      an image that is missing, or cannot be decoded
                          a box without area, or with a coordinate that is not finite
                          a box wholly outside its image
    kept, counted         a box partly outside: training gets what of it is inside
                          an image without boxes: a legal negative (`skip_empty` leaves it out)
    crowds (iscrowd 1)    no training targets; in the ground truth, where scoring ignores them

Without `verify` only headers are read. An image whose pixels then cannot be decoded is a DataError
that names the file when it is loaded, maybe hours into a run.
"""

import hashlib
import logging
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from model.config.resize import ResizeRule, Size
from model.config.training import FormatName
from model.data.annotations import Annotation, Category, Document, ImageEntry
from model.data.categories import with_classes_alone
from model.data.faults import DataError, Fault, Inventory
from model.data.formats.reading import read_labels
from model.data.image_files import Sharing, decodable, image_path, require_any, usable
from model.data.pictures import read_image

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Record:
    """One image and its training targets.

    `boxes` is float32 [G, 4], x1 y1 x2 y2 in pixels of the upright image and within it;
    `labels` is int64 [G], 0-based. They are arrays, not tensors, because each tensor that is
    sent to a worker process takes a file descriptor.
    """

    path: Path
    image_id: int
    size: Size
    boxes: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]


@dataclass(frozen=True)
class CocoDataset:
    """The images of a COCO file that can be used, with their boxes.

    `class_names` and `category_ids` are in the order of the category ids, and a label is an index
    into either. `ground_truth` is the COCO document that detections in these images are scored
    against: crowds included, boxes and areas as the file gives them, so that figures equal those
    of other tools on the same file.
    """

    records: tuple[Record, ...]
    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]
    ground_truth: dict[str, Any] = field(repr=False)
    inventory: Inventory

    @classmethod
    def read(
        cls,
        annotations: Path,
        images: Path,
        *,
        skip_empty: bool = False,
        verify: Sharing | None = None,
        without: Collection[str] = (),
        format: FormatName = "auto",
    ) -> "CocoDataset":
        """The data set of labels in any format and their image folder; what was skipped is logged.

        Args:
            annotations: COCO's json, or a file or folder of another format.
            images: the folder.
            skip_empty: leave out images without boxes.
            verify: whoever shares the decoding of every image; None trusts the headers.
            without: names of categories to leave out, with their boxes.
            format: of the annotations; "auto" looks.

        Raises:
            DataError: by the rule in the module's docstring.
        """
        document = with_classes_alone(
            read_labels(annotations, images, format), without, annotations
        )
        return cls.of(document, images, annotations, skip_empty=skip_empty, verify=verify)

    @classmethod
    def of(
        cls,
        document: Document,
        images: Path,
        annotations: Path,
        *,
        skip_empty: bool = False,
        verify: Sharing | None = None,
    ) -> "CocoDataset":
        """The data set of a document that was read from `annotations`; as `read`."""
        require_any(document.images, images)
        faults: dict[Fault, list[str]] = defaultdict(list)
        found = usable(document.images, images, faults)
        if verify:
            found = decodable(found, images, faults, verify)
        boxes = _boxes_by_image(document.annotations, found, faults)
        if skip_empty:
            found = [image for image in found if any(not a.iscrowd for a, _ in boxes[image.id])]
        categories = sorted(document.categories, key=lambda category: category.id)
        if not found or not categories:
            raise DataError(
                f"{annotations}: nothing to learn from: {len(categories)} categories, and of "
                f"{len(document.images)} images {len(found)} that can be used in {images}"
            )
        labels = {category.id: label for label, category in enumerate(categories)}
        records = tuple(_record(image, images, boxes[image.id], labels) for image in found)
        ground_truth = _ground_truth(found, boxes, categories)
        inventory = _inventory(records, ground_truth, faults)
        for line in inventory.fault_lines():
            logger.warning("%s: %s", annotations, line)
        names = tuple(category.name for category in categories)
        return cls(records, names, tuple(labels), ground_truth, inventory)

    def __len__(self) -> int:
        """The number of images."""
        return len(self.records)

    @cached_property
    def digest(self) -> str:
        """The SHA-256 of what training sees: each image's id and size, its boxes and labels."""
        digest = hashlib.sha256(repr(self.class_names).encode())
        for record in self.records:
            digest.update(repr((record.image_id, record.size)).encode())
            digest.update(record.boxes.tobytes() + record.labels.tobytes())
        return digest.hexdigest()

    def load(
        self, index: int, rule: ResizeRule | None = None
    ) -> tuple[Image.Image, Tensor, Tensor]:
        """The upright RGB image with its boxes and labels, as in `Record`.

        With a `rule` it is decoded as large as that needs it, and its boxes are still of the whole image.

        Raises:
            DataError: the pixels cannot be decoded, or are not of the size that was recorded.
        """
        record = self.records[index]
        image = read_image(record.path, rule)
        if rule is None and (image.height, image.width) != record.size:
            raise DataError(
                f"{record.path}: decoded to (height, width) {(image.height, image.width)}, "
                f"its header said {record.size}"
            )
        return image, torch.tensor(record.boxes), torch.tensor(record.labels)


# Of each image: its annotations, each with its box x1 y1 x2 y2 clipped to the image.
_Boxes = dict[int, list[tuple[Annotation, npt.NDArray[np.float32]]]]


def _boxes_by_image(
    annotations: Sequence[Annotation],
    usable: Sequence[ImageEntry],
    faults: dict[Fault, list[str]],
) -> _Boxes:
    images = {image.id: image for image in usable}
    boxes: _Boxes = {image.id: [] for image in usable}
    for annotation in annotations:
        image = images.get(annotation.image_id)
        if image is None:
            continue
        box, fault = _clip(annotation.bbox, image)
        if fault is not None:
            faults[fault].append(f"annotation {annotation.id} of {image.file_name}")
        if fault in (None, Fault.CLIPPED):
            boxes[image.id].append((annotation, box))
    return boxes


def _clip(
    bbox: tuple[float, float, float, float], image: ImageEntry
) -> tuple[npt.NDArray[np.float32], Fault | None]:
    """A COCO box as the corners of what is inside the image, and what is wrong with it."""
    x, y, w, h = bbox
    corners = np.array([x, y, x + w, y + h], dtype=np.float64)
    within = corners.clip(0, [image.width, image.height, image.width, image.height])
    box = within.astype(np.float32)
    if not (np.isfinite(corners).all() and w > 0 and h > 0):
        return box, Fault.NO_AREA
    if x >= image.width or y >= image.height or x + w <= 0 or y + h <= 0:
        return box, Fault.OUTSIDE
    # Thinner than float32 can tell.
    if not (box[2:] > box[:2]).all():
        return box, Fault.NO_AREA
    return box, None if (within == corners).all() else Fault.CLIPPED


def _record(
    image: ImageEntry,
    folder: Path,
    boxes: Sequence[tuple[Annotation, npt.NDArray[np.float32]]],
    labels: Mapping[int, int],
) -> Record:
    targets = [(box, labels[a.category_id]) for a, box in boxes if not a.iscrowd]
    return Record(
        path=image_path(folder, image.file_name),
        image_id=image.id,
        size=(image.height, image.width),
        boxes=np.array([box for box, _ in targets], dtype=np.float32).reshape(-1, 4),
        labels=np.array([label for _, label in targets], dtype=np.int64),
    )


def _ground_truth(
    images: Sequence[ImageEntry], boxes: _Boxes, categories: Sequence[Category]
) -> dict[str, Any]:
    annotations = [annotation for image in images for annotation, _ in boxes[image.id]]
    return {
        "images": [image.model_dump() for image in images],
        "annotations": [_scored(annotation) for annotation in annotations],
        "categories": [category.model_dump() for category in categories],
    }


def _scored(annotation: Annotation) -> dict[str, Any]:
    _, _, w, h = annotation.bbox
    area = w * h if annotation.area is None else annotation.area
    return annotation.model_dump() | {"bbox": list(annotation.bbox), "area": area}


def _inventory(
    records: Sequence[Record], ground_truth: dict[str, Any], faults: Mapping[Fault, Sequence[str]]
) -> Inventory:
    return Inventory(
        images=len(records),
        images_without_boxes=sum(not len(record.labels) for record in records),
        boxes=sum(len(record.labels) for record in records),
        crowd_boxes=sum(annotation["iscrowd"] for annotation in ground_truth["annotations"]),
        faults=dict(faults),
    )
