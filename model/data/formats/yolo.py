"""YOLO: a text file for each image, a line for each object: class, then centre and size as fractions of the image.

    data.yaml             names (a list, or number -> name), and for each split a folder of images, a list of files, or
                          several of these; relative to `path`, or else to the file
    .../images/a.jpg      an image; one without a text file is an example of nothing
    .../labels/a.txt      its objects; also beside the image
A line of more numbers is a polygon (segmentation, oriented boxes): the box around it is taken.
"""

from pathlib import Path
from typing import Any

import yaml

from model.config.resize import Size
from model.data.faults import DataError
from model.data.formats.labels import Box, Labels, around, image_files
from model.data.pictures import UnreadableImage, read_size
from model.text_files import read_text

CLASS_FILES = ("classes.txt", "obj.names", "_darknet.labels")
# How far a fraction may be outside 0 and 1: rounding, and boxes that reach a little over the border.
_SLACK = 0.1


def read_yaml(path: Path) -> dict[str, Any]:
    """The contents of a data.yaml.

    Raises:
        DataError: it is none.
    """
    try:
        values = yaml.safe_load(read_text(path))
    except yaml.YAMLError as error:
        raise DataError(f"{path}: not valid YAML: {str(error).splitlines()[0]}") from None
    if not isinstance(values, dict) or "names" not in values:
        raise DataError(f"{path}: expected YOLO's data.yaml with `names`, got another file")
    return values


def class_names(values: dict[str, Any]) -> tuple[str, ...]:
    """The names in a data.yaml, by their numbers."""
    names = values["names"]
    if isinstance(names, dict):
        return tuple(str(names[number]) for number in sorted(names, key=int))
    return tuple(str(name) for name in names)


def split_images(path: Path, values: dict[str, Any], split: str) -> list[Path]:
    """The images of a split of the data.yaml `path`.

    Raises:
        DataError: its folder or list is not there.
    """
    given = values[split]
    base = path.parent / str(values.get("path") or ".")
    found: list[Path] = []
    for each in given if isinstance(given, list) else [given]:
        place = _place(str(each), [base, path.parent])
        if place is None:
            raise DataError(f"{path}: {split}: {each} is not there, from {base}")
        if place.is_dir():
            found += image_files(place).values()
        else:
            lines = [line.strip() for line in read_text(place).splitlines()]
            found += [place.parent / line for line in lines if line]
    return found


def _place(named: str, bases: list[Path]) -> Path | None:
    """Where a path of a data.yaml is: Roboflow writes ../train/images for a folder beside the file."""
    plain = named.removeprefix("../")
    for base in bases:
        for each in (base / named, base / plain):
            if each.exists():
                return each
    return None


def read_yolo(
    source: Path,
    images: Path,
    names: tuple[str, ...],
    files: list[Path],
    labels: Path | None = None,
) -> Labels:
    """The labels of image `files`.

    Args:
        source: the data.yaml or folder, for messages.
        images: the folder that file names are to start from.
        names: of the classes.
        files: the images.
        labels: the folder of the text files, laid out as `images`; None looks where YOLO does.
    """
    found = Labels(source, images, names)
    for path in files:
        text = _text_file(path) if labels is None else _below(labels, path, images)
        name = path.relative_to(images).as_posix()
        if text is None or not text.is_file():
            found.add(name, None, [])
            continue
        try:
            size = read_size(path)
        except (UnreadableImage, OSError):
            found.add(name, None, [])  # counted as missing or unreadable
            continue
        found.add(name, size, _boxes(text, size, names))
    return found


def names_near(folder: Path) -> tuple[str, ...]:
    """The class names that lie in `folder` or above it, as a data.yaml or a list.

    Raises:
        DataError: there are none.
    """
    for place in (folder, *list(folder.absolute().parents)[:2]):
        for path in (*sorted(place.glob("*.yaml")), *sorted(place.glob("*.yml"))):
            return class_names(read_yaml(path))
        for name in CLASS_FILES:
            if (place / name).is_file():
                lines = (line.strip() for line in read_text(place / name).splitlines())
                return tuple(line for line in lines if line)
    raise DataError(
        f"{folder}: text files of YOLO, but no data.yaml or classes.txt near them that names the classes"
    )


def _text_file(image: Path) -> Path | None:
    """Where the objects of an image are: labels in place of the last images folder, or beside it."""
    parts = list(image.parts)
    for place in range(len(parts) - 2, -1, -1):
        if parts[place] == "images":
            parts[place] = "labels"
            there = Path(*parts).with_suffix(".txt")
            if there.is_file():
                return there
            break
    return image.with_suffix(".txt")


def _below(labels: Path, image: Path, images: Path) -> Path:
    return (labels / image.relative_to(images)).with_suffix(".txt")


def _boxes(path: Path, size: Size, names: tuple[str, ...]) -> list[Box]:
    boxes = []
    for number, line in enumerate(read_text(path).splitlines(), 1):
        if not line.strip():
            continue
        try:
            label, *numbers = (float(word) for word in line.split())
            name = names[int(label)] if label >= 0 else ""
        except (ValueError, IndexError):
            name, numbers = "", []
        if not name or not (len(numbers) == 4 or (len(numbers) >= 6 and len(numbers) % 2 == 0)):
            raise DataError(
                f"{path}:{number}: expected a class of 0 to {len(names) - 1} and four fractions or a polygon, got"
                f" {line.strip()[:60]!r}"
            )
        if not all(-_SLACK <= value <= 1 + _SLACK for value in numbers):
            raise DataError(
                f"{path}:{number}: expected fractions of the image's sides, got {line.strip()[:60]!r}: pixels perhaps"
            )
        boxes.append(Box(name, _corners(numbers, size)))
    return boxes


def _corners(numbers: list[float], size: Size) -> tuple[float, float, float, float]:
    height, width = size
    if len(numbers) == 4:
        x, y, w, h = numbers
        left, top, right, bottom = x - w / 2, y - h / 2, x + w / 2, y + h / 2
    else:
        left, top, right, bottom = around(list(zip(numbers[0::2], numbers[1::2], strict=True)))
    # Fractions that were rounded to six digits are whole pixels again.
    return (
        round(left * width, 3),
        round(top * height, 3),
        round(right * width, 3),
        round(bottom * height, 3),
    )
