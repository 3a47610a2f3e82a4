"""One data set written as the programs of others write it: a COCO folder with train.json becomes any of `WRITERS`."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from model.data.annotations import Document, read_document

Image = tuple[str, int, int, list[tuple[str, float, float, float, float]]]


def images_of(document: Document) -> list[Image]:
    """File name, width, height, and (class, x1, y1, x2, y2) of each image."""
    names = {category.id: category.name for category in document.categories}
    found: list[Image] = []
    for image in document.images:
        boxes = [
            (names[a.category_id], *a.bbox[:2], a.bbox[0] + a.bbox[2], a.bbox[1] + a.bbox[3])
            for a in document.annotations
            if a.image_id == image.id
        ]
        found.append((image.file_name, image.width, image.height, boxes))
    return found


def as_coco(source: Path, out: Path, split: str) -> None:
    """As Roboflow: everything of a split in its folder."""
    folder = out / split
    folder.mkdir(parents=True)
    document = json.loads((source / "train.json").read_text())
    (folder / "_annotations.coco.json").write_text(json.dumps(document))
    _copy(source, folder)


def as_yolo(source: Path, out: Path, split: str) -> None:
    document = read_document(source / "train.json")
    names = [category.name for category in document.categories]
    for folder in ("images", "labels"):
        (out / split / folder).mkdir(parents=True)
    for name, width, height, boxes in images_of(document):
        lines = [
            f"{names.index(n)} {(a + c) / 2 / width:.6f} {(b + d) / 2 / height:.6f}"
            f" {(c - a) / width:.6f} {(d - b) / height:.6f}"
            for n, a, b, c, d in boxes
        ]
        text = (out / split / "labels" / name).with_suffix(".txt")
        text.write_text("\n".join(lines) + "\n")
    _copy(source, out / split / "images")
    listed = "".join(f"- {name}\n" for name in names)
    splits = "train: ../train/images\nval: ../valid/images\n"
    (out / "data.yaml").write_text(f"{splits}nc: {len(names)}\nnames:\n{listed}")


def as_voc(source: Path, out: Path, split: str) -> None:
    folder = out / split
    folder.mkdir(parents=True)
    for name, width, height, boxes in images_of(read_document(source / "train.json")):
        root = ElementTree.Element("annotation")
        ElementTree.SubElement(root, "filename").text = name
        size = ElementTree.SubElement(root, "size")
        for tag, value in (("width", width), ("height", height), ("depth", 3)):
            ElementTree.SubElement(size, tag).text = str(value)
        for label, *corners in boxes:
            each = ElementTree.SubElement(root, "object")
            ElementTree.SubElement(each, "name").text = label
            box = ElementTree.SubElement(each, "bndbox")
            for tag, corner in zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True):
                ElementTree.SubElement(box, tag).text = f"{corner:g}"
        ElementTree.ElementTree(root).write((folder / name).with_suffix(".xml"))
    _copy(source, folder)


def as_csv(source: Path, out: Path, split: str) -> None:
    folder = out / split
    folder.mkdir(parents=True)
    with (folder / "_annotations.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["filename", "width", "height", "class", "xmin", "ymin", "xmax", "ymax"])
        for name, width, height, boxes in images_of(read_document(source / "train.json")):
            rows.writerows([name, width, height, *box] for box in boxes)
    _copy(source, folder)


def as_cvat(source: Path, out: Path, split: str) -> None:
    folder = out / split
    folder.mkdir(parents=True)
    document = read_document(source / "train.json")
    root = ElementTree.Element("annotations")
    labels = ElementTree.SubElement(ElementTree.SubElement(root, "meta"), "labels")
    for category in document.categories:
        label = ElementTree.SubElement(labels, "label")
        ElementTree.SubElement(label, "name").text = category.name
    for number, (name, width, height, boxes) in enumerate(images_of(document)):
        given = {"id": str(number), "name": name, "width": str(width), "height": str(height)}
        image = ElementTree.SubElement(root, "image", given)
        for label_name, *corners in boxes:
            places = dict(zip(("xtl", "ytl", "xbr", "ybr"), map(str, corners), strict=True))
            ElementTree.SubElement(image, "box", {"label": label_name} | places)
    ElementTree.ElementTree(root).write(folder / "annotations.xml")
    _copy(source, folder)


def as_label_studio(source: Path, out: Path, split: str) -> None:
    folder = out / split
    folder.mkdir(parents=True)
    tasks: list[dict[str, Any]] = []
    for name, width, height, boxes in images_of(read_document(source / "train.json")):
        sizes: dict[str, Any] = {"original_width": width, "original_height": height}
        results: list[dict[str, Any]] = [
            {
                **sizes,
                "type": "rectanglelabels",
                "value": {
                    "x": 100 * a / width,
                    "y": 100 * b / height,
                    "width": 100 * (c - a) / width,
                    "height": 100 * (d - b) / height,
                    "rectanglelabels": [label],
                },
            }
            for label, a, b, c, d in boxes
        ]
        image = f"/data/upload/1/0123abcd-{name}"
        tasks.append({"data": {"image": image}, "annotations": [{"result": results}]})
    (folder / "project.json").write_text(json.dumps(tasks))
    _copy(source, folder)


def as_labelme(source: Path, out: Path, split: str) -> None:
    folder = out / split
    folder.mkdir(parents=True)
    for name, width, height, boxes in images_of(read_document(source / "train.json")):
        shapes = [
            {"label": label, "shape_type": "rectangle", "points": [[c, d], [a, b]]}
            for label, a, b, c, d in boxes
        ]
        values: dict[str, Any] = {"version": "5.4", "shapes": shapes, "imagePath": name}
        values |= {"imageHeight": height, "imageWidth": width}
        (folder / name).with_suffix(".json").write_text(json.dumps(values))
    _copy(source, folder)


WRITERS: dict[str, Callable[[Path, Path, str], None]] = {
    "coco": as_coco,
    "yolo": as_yolo,
    "voc": as_voc,
    "csv": as_csv,
    "cvat": as_cvat,
    "labelstudio": as_label_studio,
    "labelme": as_labelme,
}


def _copy(source: Path, folder: Path) -> None:
    for image in read_document(source / "train.json").images:
        shutil.copy(source / image.file_name, folder / image.file_name)
