"""The photographs that an export looks at, as the server would hand them to the graph."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from model.config.resize import ResizeRule
from model.data.coco import CocoDataset
from model.data.faults import DataError
from model.data.transforms import frame_file

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"}

# Fewer say too little of the ranges that activations take; more than CALIBRATED add nothing (measured: the ranges of
# 64 and of 256 photographs give the same accuracy within its noise).
FEWEST_CALIBRATED = 16
CALIBRATED = 64
SEED = 0


def photographs_in(folder: Path) -> list[Path]:
    """The photographs of `folder`, by name.

    Raises:
        DataError: it is no folder, or there are none in it.
    """
    found = sorted(p for p in folder.glob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
    if not found:
        raise DataError(f"{folder}: expected a folder of photographs, found none there")
    return found


def calibration_photographs(source: Path, images: Path | None) -> list[Path]:
    """At most CALIBRATED photographs of a folder or of a COCO json, drawn with a fixed seed.

    Args:
        source: a folder, or a COCO json.
        images: the json's photographs; None means beside it, in `images` there, or in `images` beside its folder.

    Raises:
        DataError: too few, or one that cannot be decoded.
    """
    paths = (
        photographs_in(source)
        if source.suffix.lower() != ".json"
        else [r.path for r in CocoDataset.read(source, images or _beside(source)).records]
    )
    if len(paths) < FEWEST_CALIBRATED:
        raise DataError(
            f"{source}: expected at least {FEWEST_CALIBRATED} photographs to calibrate on, got {len(paths)}; take"
            " those that the model was trained on"
        )
    drawn = np.random.default_rng(SEED).permutation(len(paths))[:CALIBRATED]
    return [paths[index] for index in sorted(drawn)]


def framed(paths: Sequence[Path], resize: ResizeRule) -> Iterator[tuple[Tensor, Tensor]]:
    """Each photograph as a batch of one: images uint8 [1, 3, H, W] in its bucket, sizes int64 [1, 2].

    Raises:
        DataError: it cannot be decoded.
    """
    for path in paths:
        pixels, size = frame_file(path, resize)
        yield pixels[None], torch.tensor([size])


def _beside(json: Path) -> Path:
    folders = (json.parent / "images", json.parent.parent / "images")
    return next((folder for folder in folders if folder.is_dir()), json.parent)
