"""The contents of a COCO detection json, checked: https://cocodataset.org/#format-data.

Only the keys named here are read; others (segmentations, licences) are ignored. A file whose
parts do not fit together is refused, by the table in `model/data/coco.py`.
"""

from collections import Counter
from collections.abc import Hashable, Iterable
from pathlib import Path

from pydantic import BaseModel, ConfigDict, PositiveInt, ValidationError

from model.data.faults import DataError, offended, refuse


class _Entry(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True)


class ImageEntry(_Entry):
    """One of `images`."""

    id: int
    file_name: str
    width: PositiveInt
    height: PositiveInt


class Annotation(_Entry):
    """One of `annotations`: `bbox` is x, y, width, height in pixels; `iscrowd` is 0 or 1."""

    id: int
    image_id: int
    category_id: int
    bbox: tuple[float, float, float, float]
    area: float | None = None
    iscrowd: int = 0


class Category(_Entry):
    """One of `categories`."""

    id: int
    name: str


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
        document = Document.model_validate_json(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    except ValidationError as error:
        wrong = [".".join(map(str, e["loc"])) + f" ({e['msg']})" for e in error.errors()]
        raise DataError(offended(f"{path}: not a COCO file", wrong)) from error
    images, annotations, categories = document.images, document.annotations, document.categories
    _refuse_repeated(f"{path}: images share an id", (image.id for image in images))
    _refuse_repeated(f"{path}: images share a file_name", (image.file_name for image in images))
    _refuse_repeated(f"{path}: annotations share an id", (a.id for a in annotations))
    _refuse_repeated(f"{path}: categories share an id", (category.id for category in categories))
    _refuse_repeated(f"{path}: categories share a name", (category.name for category in categories))
    _refuse_strays(path, document)
    return document


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
