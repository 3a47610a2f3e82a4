"""What the readers of all formats make: images with boxes by class name, numbered as a COCO document.

Images are numbered in the order of their file names and classes in the order that the format gives, or else of their
names, so that the same labels in another format are the same document.
"""

import logging
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from model.config.resize import Size
from model.data.annotations import Annotation, Category, Document, ImageEntry, require_sound
from model.data.faults import DataError, refuse, some
from model.data.pictures import UnreadableImage, read_size

logger = logging.getLogger(__name__)

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".avif"}

Corners = tuple[float, float, float, float]


@dataclass(frozen=True)
class Box:
    """One object: its class, x1 y1 x2 y2 in pixels, and whether it is to be ignored: a crowd, or VOC's difficult."""

    name: str
    corners: Corners
    ignored: bool = False


@dataclass
class Labels:
    """The labels of a split, as a reader finds them.

    Attributes:
        source: the file or folder that is read, for messages.
        images: the folder that file names start from.
        names: classes in the format's own order; empty where it has none.
        entries: file name -> its (height, width), or None to be read from the image, and its boxes.
        skipped: kind of shape that is no box -> how many were left out.
    """

    source: Path
    images: Path
    names: tuple[str, ...] = ()
    entries: dict[str, tuple[Size | None, list[Box]]] = field(default_factory=dict)
    skipped: Counter[str] = field(default_factory=Counter)

    def add(self, file_name: str, size: Size | None, boxes: list[Box]) -> None:
        """Add an image with its boxes, or boxes to an image that is there."""
        known = self.entries.setdefault(file_name, (size, []))
        known[1].extend(boxes)

    def document(self) -> Document:
        """The labels as a COCO document.

        Raises:
            DataError: they contradict themselves.
        """
        for kind, count in self.skipped.items():
            logger.warning(
                "%s: left out %d of kind %r, which are no boxes", self.source, count, kind
            )
        used = {box.name for _, boxes in self.entries.values() for box in boxes}
        names = self.names or tuple(sorted(used))
        refuse(f"{self.source}: boxes of classes that it does not list", sorted(used - set(names)))
        repeated = sorted(name for name, count in Counter(names).items() if count > 1)
        refuse(f"{self.source}: classes share a name", repeated)
        numbers = {name: number for number, name in enumerate(names, 1)}
        images: list[ImageEntry] = []
        annotations: list[Annotation] = []
        for number, (file_name, (size, boxes)) in enumerate(sorted(self.entries.items()), 1):
            images.append(self._entry(number, file_name, size))
            for box in boxes:
                x1, y1, x2, y2 = box.corners
                annotations.append(
                    Annotation(
                        id=len(annotations) + 1,
                        image_id=number,
                        category_id=numbers[box.name],
                        bbox=(x1, y1, x2 - x1, y2 - y1),
                        iscrowd=1 if box.ignored else 0,
                    )
                )
        categories = [Category(id=number, name=name) for name, number in numbers.items()]
        document = Document(images=images, annotations=annotations, categories=categories)
        require_sound(document, self.source)
        return document

    def _entry(self, number: int, file_name: str, size: Size | None) -> ImageEntry:
        # Of an image that is missing or damaged the size is not asked for again: it is skipped and counted as such.
        height, width = size or _size_or_one(self.images / file_name)
        return ImageEntry(id=number, file_name=file_name, width=width, height=height)


def image_files(folder: Path) -> dict[str, Path]:
    """The images below `folder`, by their path from it with forward slashes, sorted."""
    found = (p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    return {path.relative_to(folder).as_posix(): path for path in sorted(found)}


def around(points: list[tuple[float, float]]) -> Corners:
    """The box around points (x, y)."""
    xs, ys = zip(*points, strict=True)
    return min(xs), min(ys), max(xs), max(ys)


def require_one_of(names: list[str], what: str, source: Path) -> str:
    """The only one of `names`.

    Raises:
        DataError: there is none, or more than one.
    """
    if len(names) != 1:
        raise DataError(f"{source}: expected one {what}, got {some(names) if names else 'none'}")
    return names[0]


def _size_or_one(path: Path) -> Size:
    try:
        return read_size(path)
    except (UnreadableImage, OSError):
        return 1, 1
