"""What is in a folder of labelled photographs, and what is wrong with it, in lines and pictures."""

import random
from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
from PIL import Image

from model.curation.likeness import Hashes, alike, difference_hashes
from model.data.categories import with_classes_alone
from model.data.coco import CocoDataset
from model.data.drawing import Mark, drawn, save_sheet
from model.data.formats.splits import Split
from model.data.image_files import ALONE
from model.evaluation.tables import text_table

# COCO's limits of an object's area.
SMALL, LARGE = 32**2, 96**2
# Photographs on a sheet, and pairs that are named.
_SHOWN, _NAMED = 16, 5


def check(splits: Sequence[Split]) -> tuple[str, dict[str, CocoDataset]]:
    """What is to be said of the splits, and their data sets; every image is decoded.

    Raises:
        DataError: one cannot be trusted at all.
    """
    parts, datasets, hashes = [], {}, {}
    for split in splits:
        document = with_classes_alone(split.document, (), split.source)
        dataset = CocoDataset.of(document, split.images, split.source, verify=ALONE)
        datasets[split.name] = dataset
        hashes[split.name] = difference_hashes([record.path for record in dataset.records])
        parts.append(_told(split, dataset))
    return "\n\n".join([*parts, *_likenesses(datasets, hashes)]), datasets


def save_pictures(folder: Path, datasets: dict[str, CocoDataset]) -> list[Path]:
    """Writes a sheet of photographs with their boxes for each split; the paths come back."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, dataset in datasets.items():
        chosen = random.Random(0).sample(range(len(dataset)), min(_SHOWN, len(dataset)))
        path = folder / f"{name}.jpg"
        save_sheet(path, [_picture(dataset, index) for index in chosen])
        paths.append(path)
    return paths


def _picture(dataset: CocoDataset, index: int) -> Image.Image:
    image, boxes, labels = dataset.load(index)
    marks = [
        Mark(box, dataset.class_names[label], label)
        for box, label in zip(boxes.tolist(), labels.tolist(), strict=True)
    ]
    return drawn(image, marks)


def _told(split: Split, dataset: CocoDataset) -> str:
    areas: dict[str, list[float]] = {name: [] for name in dataset.class_names}
    for record in dataset.records:
        sides = record.boxes[:, 2:] - record.boxes[:, :2]
        for label, area in zip(record.labels, sides.prod(axis=1), strict=True):
            areas[dataset.class_names[label]].append(float(area))
    rows = {name: _row(values) for name, values in areas.items()}
    sizes = Counter(record.size for record in dataset.records).most_common(3)
    common = ", ".join(f"{width} x {height} ({count})" for (height, width), count in sizes)
    return "\n".join(
        [
            f"{split.name}: {split.format}, {split.source}",
            str(dataset.inventory),
            f"sizes: {common}",
            text_table("class", rows),
        ]
    )


def _row(areas: Sequence[float]) -> dict[str, str]:
    small = sum(area < SMALL for area in areas)
    large = sum(area > LARGE for area in areas)
    side = f"{np.sqrt(np.median(areas)):.0f}" if areas else "-"
    counts = {
        "boxes": len(areas),
        "small": small,
        "medium": len(areas) - small - large,
        "large": large,
    }
    return {name: str(count) for name, count in counts.items()} | {"median side": side}


def _likenesses(datasets: dict[str, CocoDataset], hashes: dict[str, Hashes]) -> list[str]:
    """Lines on pictures that are in two splits, or twice in one."""
    lines = []
    for one, other in combinations(datasets, 2):
        pairs = alike(hashes[one], hashes[other])
        if pairs:
            named = [
                f"{datasets[one].records[a].path.name} = {datasets[other].records[b].path.name}"
                for a, b in pairs
            ]
            lines.append(
                f"leak: {len({b for _, b in pairs})} photographs of {other} are in {one} too: {_first(named)}"
            )
    for name, dataset in datasets.items():
        twice = [(a, b) for a, b in alike(hashes[name], hashes[name]) if a < b]
        if twice:
            named = [
                f"{dataset.records[a].path.name} = {dataset.records[b].path.name}" for a, b in twice
            ]
            lines.append(
                f"{name}: {len(twice)} pairs of photographs are the same picture: {_first(named)}"
            )
    return lines or ["no photograph is the same picture as another"]


def _first(named: Sequence[str]) -> str:
    return ", ".join(named[:_NAMED]) + (", ..." if len(named) > _NAMED else "")
