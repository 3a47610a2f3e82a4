"""The files of a data set's images: where they are, and which of them can be used."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tqdm import tqdm

from model.data.annotations import ImageEntry
from model.data.faults import DataError, Fault, refuse, some
from model.data.pictures import UnreadableImage, read_image, read_size


def image_path(folder: Path, file_name: str) -> Path:
    """Where the image is: under `folder`, also where Windows wrote the name, with backslashes."""
    path = folder / file_name
    if "\\" in file_name and not path.is_file():
        return folder / file_name.replace("\\", "/")
    return path


def require_any(images: Sequence[ImageEntry], folder: Path) -> None:
    """Refuses a folder that has none of the images.

    Raises:
        DataError: it names the first paths that were looked for, and says where the first image is instead, if its name
            is right below the folder or beside it.
    """
    paths = [image_path(folder, image.file_name) for image in images]
    if not paths or any(path.is_file() for path in paths):
        return
    plain = paths[0].name
    near = [place / plain for place in (folder, folder.parent, *_below(folder))]
    found = next((path for path in near if path.is_file()), None)
    hint = f"; {found} is there: file names start from the folder of images" if found else ""
    raise DataError(f"none of the images is there: {some([str(p) for p in paths], 3)}{hint}")


def _below(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []


def usable(
    images: Sequence[ImageEntry], folder: Path, faults: dict[Fault, list[str]]
) -> list[ImageEntry]:
    """The images whose file is there, with a header that agrees with the json."""
    usable, disagreeing = [], []
    for image in images:
        path, stated = image_path(folder, image.file_name), (image.height, image.width)
        if not path.is_file():
            faults[Fault.MISSING].append(image.file_name)
            continue
        try:
            size = read_size(path)
        except UnreadableImage:
            faults[Fault.UNREADABLE].append(image.file_name)
            continue
        if size != stated:
            disagreeing.append(f"{image.file_name} (json {stated}, image {size})")
        usable.append(image)
    refuse(f"{folder}: the json's (height, width) is not the upright image's", disagreeing)
    return usable


class Sharing(Protocol):
    """Those who decode together: how many, and which of them this is."""

    @property
    def count(self) -> int: ...  # noqa: D102

    @property
    def rank(self) -> int: ...  # noqa: D102

    def gathered(self, mine: Sequence[bool], total: int) -> list[bool]:
        """The results for all `total` images, from those for every `count`th from `rank` on that are `mine`."""


@dataclass(frozen=True)
class _Alone:
    count: int = 1
    rank: int = 0

    def gathered(self, mine: Sequence[bool], total: int) -> list[bool]:
        assert len(mine) == total
        return list(mine)


ALONE: Sharing = _Alone()


def decodable(
    images: Sequence[ImageEntry], folder: Path, faults: dict[Fault, list[str]], sharing: Sharing
) -> list[ImageEntry]:
    """The images whose pixels can be decoded, in as many threads as there are cores, each in one of those who share."""
    mine = images[sharing.rank :: sharing.count]

    def decodes(image: ImageEntry) -> bool:
        try:
            read_image(image_path(folder, image.file_name))
        except UnreadableImage:
            return False
        return True

    # Pillow decodes without Python's lock.
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        found = list(
            tqdm(
                threads.map(decodes, mine),
                desc="decoding all images",
                total=len(mine),
                leave=False,
                delay=2.0,
            )
        )
    decoded = sharing.gathered(found, len(images))
    for image, fine in zip(images, decoded, strict=True):
        if not fine:
            faults[Fault.UNREADABLE].append(image.file_name)
    return [image for image, fine in zip(images, decoded, strict=True) if fine]
