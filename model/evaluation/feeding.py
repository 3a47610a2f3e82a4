"""The pictures of a data set as the detector takes them.

They go in as they do in the service: each is resized by a resize rule, placed in the bucket that it alone decides, and
batched with others of that bucket only. So the batch size changes the speed and not the answers.

    N      images of a batch     H, W   their bucket
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from model.config.resize import ResizeRule, Size
from model.data.coco import CocoDataset
from model.data.transforms import frame_image


@dataclass(frozen=True)
class Loading:
    """How pictures are fed.

    Attributes:
        batch_size: pictures a batch at most.
        workers: processes that decode and resize; 0 means this one.
        progress: show a progress bar.
    """

    batch_size: int = 8
    workers: int = 0
    progress: bool = False


class Frames(NamedTuple):
    """A batch of letterboxed pictures: `images` uint8 [N, 3, H, W], `sizes` int64 [N, 2].

    `indices` are the pictures' places in the data set.
    """

    indices: list[int]
    images: Tensor
    sizes: Tensor


class _FramedPictures(Dataset[tuple[int, Tensor, Size]]):
    """The pictures of a data set as the detector takes them: index, pixels [3, H, W], size."""

    def __init__(self, dataset: CocoDataset, resize: ResizeRule) -> None:
        self.dataset = dataset
        self.resize = resize

    def __getitem__(self, index: int) -> tuple[int, Tensor, Size]:
        image, _, _ = self.dataset.load(index)
        return index, *frame_image(image, self.resize)


def frame_batches(
    dataset: CocoDataset, resize: ResizeRule, loading: Loading
) -> DataLoader[tuple[int, Tensor, Size]]:
    """Return what iterates over `Frames` of pictures that share a bucket."""
    by_bucket: dict[Size, list[int]] = defaultdict(list)
    for index, record in enumerate(dataset.records):
        by_bucket[resize.bucket(resize.content_size(record.size))].append(index)
    batches = [
        indices[start : start + loading.batch_size]
        for indices in by_bucket.values()
        for start in range(0, len(indices), loading.batch_size)
    ]
    return DataLoader(
        _FramedPictures(dataset, resize),
        batch_sampler=batches,
        num_workers=loading.workers,
        collate_fn=_stack,
    )


def _stack(pictures: Sequence[tuple[int, Tensor, Size]]) -> Frames:
    indices, images, sizes = zip(*pictures, strict=True)
    return Frames(list(indices), torch.stack(images), torch.tensor(sizes))
