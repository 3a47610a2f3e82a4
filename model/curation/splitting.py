"""Splits whose photographs have nothing to do with each other: the same picture, or a group, is in one of them only."""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

from model.curation.likeness import alike, difference_hashes
from model.data.annotations import Document
from model.errors import Refused


def groups_of(document: Document, images: Path, pattern: str = "") -> list[list[int]]:
    """The places in `document.images` that belong together, those of one picture or of one name.

    Args:
        document: its images.
        images: the folder that file names start from.
        pattern: a regular expression; what its first group matches in a file name (all of it without a group) names a
            photograph's group. Without one, photographs that show the same picture are a group.

    Raises:
        Refused: a file name does not match.
    """
    if not pattern:
        hashes = difference_hashes([images / image.file_name for image in document.images])
        return _joined(len(hashes), alike(hashes, hashes))
    by_name: dict[str, list[int]] = {}
    for place, image in enumerate(document.images):
        found = re.search(pattern, image.file_name)
        if found is None:
            raise Refused(f"--group-by {pattern}: does not match {image.file_name}")
        by_name.setdefault(found[1] if found.re.groups else found[0], []).append(place)
    return list(by_name.values())


def divided(
    document: Document, groups: Sequence[Sequence[int]], shares: dict[str, float], seed: int = 0
) -> dict[str, Document]:
    """The document in parts: whole groups, until each part has its share of the images; the first takes what is left.

    Args:
        document: what is divided.
        groups: places of its images.
        shares: name -> share of 1, but for the first name.
        seed: of the order, which depends on it and on file names alone.

    Raises:
        Refused: a part would be empty.
    """
    names = [image.file_name for image in document.images]

    def order(group: Sequence[int]) -> str:
        first = min(names[place] for place in group)
        return hashlib.sha256(f"{seed} {first}".encode()).hexdigest()

    waiting = sorted(groups, key=order)
    parts: dict[str, list[int]] = {name: [] for name in shares}
    first, *others = shares
    for name in others:
        wanted = max(1, round(shares[name] * len(names)))
        while waiting and len(parts[name]) < wanted:
            parts[name] += waiting.pop()
    parts[first] = [place for group in waiting for place in group]
    empty = [name for name, places in parts.items() if not places]
    if empty:
        raise Refused(
            f"{len(groups)} groups of photographs are too few for {len(shares)} parts: no {empty[0]}"
        )
    return {name: _part(document, sorted(places)) for name, places in parts.items()}


def _part(document: Document, places: Sequence[int]) -> Document:
    images = [document.images[place] for place in places]
    ids = {image.id for image in images}
    boxes = [a for a in document.annotations if a.image_id in ids]
    return document.model_copy(update={"images": images, "annotations": boxes})


def _joined(count: int, pairs: Sequence[tuple[int, int]]) -> list[list[int]]:
    """The groups of 0 to `count` that pairs join, however long the chain."""
    parent = list(range(count))

    def root(place: int) -> int:
        while parent[place] != place:
            parent[place] = parent[parent[place]]
            place = parent[place]
        return place

    for one, other in pairs:
        parent[root(one)] = root(other)
    groups: dict[int, list[int]] = {}
    for place in range(count):
        groups.setdefault(root(place), []).append(place)
    return list(groups.values())
