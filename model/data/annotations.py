"""The contents of a COCO detection json, checked: https://cocodataset.org/#format-data.

Only the keys named here are read; others (segmentations, licences) are ignored. A file whose
parts do not fit together is refused, by the table in `model/data/coco.py`.
"""

from collections import Counter
from collections.abc import Hashable, Iterable
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from model.config.class_names import is_name
from model.data.faults import DataError, offended, refuse
from model.text_files import TextError, read_text


def _whole(value: object) -> object:
    """Of other systems' numbers, 640.0 is a whole one; what else is none stays as it is, and is refused."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _flag(value: object) -> object:
    return int(value) if isinstance(value, bool) else _whole(value)


Whole = Annotated[int, BeforeValidator(_whole)]
Flag = Annotated[Literal[0, 1], BeforeValidator(_flag)]


class _Entry(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True)


class ImageEntry(_Entry):
    """One of `images`."""

    id: Whole
    file_name: str
    width: Annotated[Whole, Field(ge=1)]
    height: Annotated[Whole, Field(ge=1)]


class Annotation(_Entry):
    """One of `annotations`: `bbox` is x, y, width, height in pixels; `iscrowd` is 0 or 1."""

    id: Whole
    image_id: Whole
    category_id: Whole
    bbox: tuple[float, float, float, float]
    area: float | None = None
    iscrowd: Flag = 0


class Category(_Entry):
    """One of `categories`."""

    id: Whole
    name: str
    supercategory: str | None = None


class Document(_Entry):
    """A COCO file."""

    images: list[ImageEntry]
    annotations: list[Annotation]
    categories: list[Category]


def read_document(path: Path) -> Document:
    """The contents of a COCO file whose ids are unique and refer to one another.

    Raises:
        DataError: they are not, or the file cannot be read; the message names the offenders.
    """
    try:
        document = Document.model_validate_json(read_text(path))
    except TextError as error:
        raise DataError(str(error)) from None
    except ValidationError as error:
        wrong = [".".join(map(str, e["loc"])) + f" ({e['msg']})" for e in error.errors()]
        raise DataError(offended(f"{path}: not a COCO file", wrong)) from error
    require_sound(document, path)
    return document


def require_sound(document: Document, path: Path) -> None:
    """Refuses a document, of the file or folder `path`, whose ids are repeated or refer to nothing.

    Raises:
        DataError: so they are; the message names the offenders.
    """
    images, annotations, categories = document.images, document.annotations, document.categories
    _refuse_repeated(f"{path}: images share an id", (image.id for image in images))
    _refuse_repeated(f"{path}: images share a file_name", (image.file_name for image in images))
    _refuse_repeated(f"{path}: annotations share an id", (a.id for a in annotations))
    _refuse_repeated(f"{path}: categories share an id", (category.id for category in categories))
    _refuse_repeated(f"{path}: categories share a name", (category.name for category in categories))
    odd = [ascii(category.name) for category in categories if not is_name(category.name)]
    refuse(f"{path}: category names that are empty, or hold white space at an end or unseen", odd)
    _refuse_strays(path, document)
    refuse_other_units(document, path)


def _refuse_repeated(what: str, values: Iterable[Hashable]) -> None:
    refuse(what, [repr(value) for value, count in Counter(values).items() if count > 1])


def _refuse_strays(path: Path, document: Document) -> None:
    names = {image.id: image.file_name for image in document.images}
    known = {category.id for category in document.categories}
    no_image, no_category = [], []
    for annotation in document.annotations:
        if annotation.image_id not in names:
            no_image.append(f"annotation {annotation.id} (image_id {annotation.image_id})")
        elif annotation.category_id not in known:
            of = f"annotation {annotation.id} of {names[annotation.image_id]}"
            no_category.append(f"{of} (category_id {annotation.category_id})")
    refuse(f"{path}: annotations of unknown images", no_image)
    refuse(f"{path}: annotations of unknown categories", no_category)


# Boxes that must offend before their units are doubted: a few may be any.
_ENOUGH = 5


def refuse_other_units(document: Document, path: Path) -> None:
    """Refuses boxes that are plainly no x, y, width, height in pixels.

    Raises:
        DataError: all lie within one pixel, so are fractions of the image; or all would lie within their images as x1,
            y1, x2, y2, while many reach out of them as x, y, width, height.
    """
    images = {image.id: image for image in document.images}
    boxes = [
        (a.bbox, images[a.image_id]) for a in document.annotations if min(a.bbox[2:], default=0) > 0
    ]
    if boxes and all(
        max(x + w, y + h) <= 1 < min(image.width, image.height) for (x, y, w, h), image in boxes
    ):
        raise DataError(
            f"{path}: expected boxes in pixels, got fractions of the image's sides (all within 0 and 1): multiply x and"
            " width by the image's width, y and height by its height"
        )
    outside = sum(x + w > i.width + 1 or y + h > i.height + 1 for (x, y, w, h), i in boxes)
    if outside >= max(_ENOUGH, len(boxes) / 5) and all(
        0 <= x < w <= i.width + 1 and 0 <= y < h <= i.height + 1 for (x, y, w, h), i in boxes
    ):
        raise DataError(
            f"{path}: expected boxes as x, y, width, height, got what looks like x1, y1, x2, y2: so read all lie within"
            f" their images, while {outside} of {len(boxes)} would reach out of them; subtract x1 and y1 from x2 and y2"
        )
