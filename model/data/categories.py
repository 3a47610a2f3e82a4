"""Which categories of a document are classes.

Exports of labelling systems have categories that name no object: a root that is the others' supercategory (Roboflow
writes it with id 0), or one for the background, which detectors have of their own accord.
"""

import logging
from collections.abc import Collection
from pathlib import Path

from model.data.annotations import Category, Document

logger = logging.getLogger(__name__)

_BACKGROUND = {"background", "_background_", "__background__", "bg"}


def with_classes_alone(document: Document, without: Collection[str], path: Path) -> Document:
    """The document without the categories that are no classes, and without the boxes of these.

    Args:
        document: of the file or folder `path`, sound.
        without: names of categories to leave out.
        path: begins what is logged: a root that was left out, a class that is called background.
    """
    root = _root(document)
    if root is not None:
        logger.warning(
            "%s: left out the category %r, which has no boxes and is the supercategory of the others",
            path,
            root.name,
        )
    left_out = {c.id for c in document.categories if c is root or c.name in without}
    categories = [c for c in document.categories if c.id not in left_out]
    for category in categories:
        if category.name.strip().lower() in _BACKGROUND:
            logger.warning(
                "%s: %r is a class like any other here; if it means none, leave it out with"
                ' data.without_classes = ["%s"]',
                path,
                category.name,
                category.name,
            )
    boxes = [a for a in document.annotations if a.category_id not in left_out]
    return document.model_copy(update={"categories": categories, "annotations": boxes})


def _root(document: Document) -> Category | None:
    """The category without boxes that every other one has as its supercategory."""
    used = {annotation.category_id for annotation in document.annotations}
    for category in document.categories:
        others = [c for c in document.categories if c is not category]
        if (
            category.id not in used
            and others
            and all(c.supercategory == category.name for c in others)
        ):
            return category
    return None
