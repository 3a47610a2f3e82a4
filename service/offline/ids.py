"""The numbers of COCO's results, of photographs and classes: a data set's, or places in the run and the model's own."""

import json
from pathlib import Path, PurePosixPath
from typing import Any

from service.errors import InvalidRequest


class Ids:
    """Numbers as a COCO json has them, by name; of photographs without one, in the order in which they are asked for.

    Attributes:
        categories: of the classes, by name; None where the model's own numbers hold.
    """

    def __init__(self, path: Path | None = None) -> None:
        """`path` is of a COCO json. Raises InvalidRequest when it is none."""
        self.categories: dict[str, int] | None = None
        self._in_order: dict[str, int] = {}
        self._known: dict[str, int] | None = None
        if path is not None:
            self._known, self.categories = _read(path)

    def of(self, name: str) -> int | None:
        """The number of the photograph called so, always the same; None where the json has no such image.

        A name of the json may be any end of the photograph's path, and the longest counts.
        """
        if self._known is None:
            return self._in_order.setdefault(name, len(self._in_order) + 1)
        parts = PurePosixPath(name).parts
        ends = ("/".join(parts[start:]) for start in range(len(parts)))
        return next((self._known[end] for end in ends if end in self._known), None)

    def results(self, entries: list[dict[str, Any]], labels: list[str]) -> list[dict[str, Any]]:
        """The results of one image with the data set's numbers of `labels`; and only of classes that it has."""
        known = self.categories
        if known is None:
            return entries
        return [
            {**entry, "category_id": known[label]}
            for entry, label in zip(entries, labels, strict=True)
            if label in known
        ]


def _read(path: Path) -> tuple[dict[str, int], dict[str, int]]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        images = {str(PurePosixPath(e["file_name"])): int(e["id"]) for e in content["images"]}
        return images, {each["name"]: int(each["id"]) for each in content["categories"]}
    except OSError as error:
        raise InvalidRequest(f"--ids: {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidRequest(
            f"--ids: {path}: expected a COCO json with images and categories, each with its id and name"
        ) from error
