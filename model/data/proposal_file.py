"""Proposals in a file, so that Fast R-CNN can be trained and scored on the same ones again and again (table 2).

A compressed .npz without pickles; boxes are in pixels of the photographs, whatever they are resized to. Each image
has a print: 64 bits of the SHA-256 of its file name, size and length in bytes. A file is used only with images
that it was made of; it may hold more.

    I  images     T  proposals of all images, one image's after the other's, best first
"""

import hashlib
import os
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from model.data.coco import CocoDataset, Record
from model.data.faults import DataError, refuse

_KINDS = {
    "image_ids": (np.int64, ()),
    "sizes": (np.int64, (2,)),
    "prints": (np.uint64, ()),
    "counts": (np.int64, ()),
    "boxes": (np.float32, (4,)),
    "scores": (np.float32, ()),
    "levels": (np.uint8, ()),
}
_UNFIT = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile)


@dataclass(frozen=True)
class ImageProposals:
    """Of one image, best first: boxes float32 [P, 4] xyxy, scores float32 [P] in 0..1, levels uint8 [P]."""

    boxes: npt.NDArray[np.float32]
    scores: npt.NDArray[np.float32]
    levels: npt.NDArray[np.uint8]


@dataclass(frozen=True)
class ProposalSet:
    """The proposals of many images.

    Attributes:
        image_ids, prints, counts: [I], of each image; `counts` is how many proposals it has.
        sizes: [I, 2], (height, width).
        boxes, scores, levels: [T, 4], [T] and [T], as in `ImageProposals`.
    """

    image_ids: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int64]
    prints: npt.NDArray[np.uint64]
    counts: npt.NDArray[np.int64]
    boxes: npt.NDArray[np.float32]
    scores: npt.NDArray[np.float32]
    levels: npt.NDArray[np.uint8]

    @classmethod
    def gather(
        cls, records: Sequence[Record], proposals: Sequence[ImageProposals]
    ) -> "ProposalSet":
        """The set of the images `records`, of which each has its `proposals`."""
        return cls(
            np.array([record.image_id for record in records], dtype=np.int64),
            np.array([record.size for record in records], dtype=np.int64),
            np.array([_print(record) for record in records], dtype=np.uint64),
            np.array([len(found.scores) for found in proposals], dtype=np.int64),
            np.concatenate([found.boxes for found in proposals]),
            np.concatenate([found.scores for found in proposals]),
            np.concatenate([found.levels for found in proposals]),
        )

    @classmethod
    def read(cls, path: Path, dataset: CocoDataset) -> "ProposalSet":
        """The set of a file that `save` wrote, which must hold the images of `dataset`.

        Raises:
            DataError: the file cannot be read, or does not match; the message names what differs.
        """
        try:
            with np.load(path, allow_pickle=False) as content:
                arrays: dict[str, npt.NDArray[Any]] = {name: content[name] for name in _KINDS}
        except _UNFIT as error:
            raise DataError(f"{path}: expected a file of fpn-propose, got {error}") from None
        for name, (kind, shape) in _KINDS.items():
            if arrays[name].dtype != kind or arrays[name].shape[1:] != shape:
                raise DataError(
                    f"{path}: expected a file of fpn-propose, but {name} is of another kind"
                )
        found = cls(**arrays)
        images, proposals = len(found.image_ids), int(found.counts.sum())
        lengths = {field.name: len(arrays[field.name]) for field in fields(cls)}
        if list(lengths.values()) != 4 * [images] + 3 * [proposals]:
            raise DataError(f"{path}: its parts do not fit together: {lengths}")
        found._require_images(path, dataset)
        return found

    def save(self, path: Path) -> None:
        """Writes the set to `path` at once or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.partial")
        try:
            with temporary.open("wb") as file:
                np.savez_compressed(file, **{name: getattr(self, name) for name in _KINDS})
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)

    def of(self, image_id: int, count: int) -> ImageProposals:
        """The best `count` proposals of an image."""
        place = self._places[image_id]
        start = int(self._starts[place])
        part = slice(start, start + min(count, int(self.counts[place])))
        return ImageProposals(self.boxes[part], self.scores[part], self.levels[part])

    @cached_property
    def digest(self) -> str:
        """The SHA-256 of all that is in the set."""
        digest = hashlib.sha256()
        for name in _KINDS:
            digest.update(getattr(self, name).tobytes())
        return digest.hexdigest()

    @cached_property
    def _places(self) -> dict[int, int]:
        return {int(image_id): place for place, image_id in enumerate(self.image_ids)}

    @cached_property
    def _starts(self) -> npt.NDArray[np.int64]:
        return np.cumsum(self.counts) - self.counts

    def _require_images(self, path: Path, dataset: CocoDataset) -> None:
        missing, resized, others = [], [], []
        for record in dataset.records:
            place = self._places.get(record.image_id)
            if place is None:
                missing.append(f"{record.image_id} ({record.path.name})")
            elif (size := tuple(self.sizes[place].tolist())) != record.size:
                resized.append(f"{record.path.name} (file {size}, image {record.size})")
            elif int(self.prints[place]) != _print(record):
                others.append(record.path.name)
        refuse(f"{path}: made of other images: it lacks image ids", missing)
        refuse(f"{path}: made of other images: another (height, width)", resized)
        refuse(
            f"{path}: made of other images: ids and sizes agree, names or contents do not", others
        )


def _print(record: Record) -> int:
    seen = repr((record.path.name, record.size, record.path.stat().st_size))
    return int.from_bytes(hashlib.sha256(seen.encode()).digest()[:8], "big")
