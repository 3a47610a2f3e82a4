"""The images of a data set as the detector takes them.

They go in as they do in the service: each is resized by a resize rule, placed in the bucket that it alone decides, and
batched with others of that bucket only. So the batch size changes the speed and not the answers.

    N      images of a batch     H, W   their bucket
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from model.config.resize import ResizeRule, Size
from model.data.coco import CocoDataset
from model.data.transforms import frame_image
from model.data.workers import leave_signals


@dataclass(frozen=True)
class Loading:
    """How images are fed.

    Attributes:
        batch_size: images a batch at most.
        workers: processes that decode and resize; 0 means this one.
        progress: show a progress bar.
        bar_after_s: seconds before it is shown.
    """

    batch_size: int = 8
    workers: int = 0
    progress: bool = False
    bar_after_s: float = 2.0


class Frames(NamedTuple):
    """A batch of letterboxed images: `images` uint8 [N, 3, H, W], `sizes` int64 [N, 2] of their contents.

    `indices` are the images' places in the data set.
    """

    indices: list[int]
    images: Tensor
    sizes: Tensor

    @property
    def contents(self) -> list[Size]:
        """`sizes` as plain numbers."""
        return [(height, width) for height, width in self.sizes.tolist()]

    def on(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """`images` and `sizes` on `device`."""
        return self.images.to(device), self.sizes.to(device)


class _FramedImages(Dataset[tuple[int, Tensor, Size]]):
    """The images of a data set as the detector takes them: index, pixels [3, H, W], size."""

    def __init__(self, dataset: CocoDataset, resize: ResizeRule) -> None:
        self.dataset = dataset
        self.resize = resize

    def __getitem__(self, index: int) -> tuple[int, Tensor, Size]:
        image, _, _ = self.dataset.load(index, self.resize)
        return index, *frame_image(image, self.dataset.records[index].size, self.resize)


def frame_batches(dataset: CocoDataset, resize: ResizeRule, loading: Loading) -> Iterator[Frames]:
    """Yields every image once, in batches that share a bucket, bucket by bucket.

    Raises:
        DataError: an image cannot be decoded.
    """
    batches = DataLoader(
        _FramedImages(dataset, resize),
        batch_sampler=_batches_by_bucket(dataset, resize, loading.batch_size),
        num_workers=loading.workers,
        worker_init_fn=leave_signals,
        collate_fn=_stack,
    )
    with tqdm(
        total=len(dataset),
        unit="image",
        leave=False,
        delay=loading.bar_after_s,
        disable=not loading.progress,
    ) as bar:
        for frames in batches:
            yield frames
            bar.update(len(frames.indices))


def _batches_by_bucket(dataset: CocoDataset, resize: ResizeRule, most: int) -> list[list[int]]:
    by_bucket: dict[Size, list[int]] = defaultdict(list)
    for index, record in enumerate(dataset.records):
        by_bucket[resize.bucket(resize.content_size(record.size))].append(index)
    return [
        indices[start : start + most]
        for indices in by_bucket.values()
        for start in range(0, len(indices), most)
    ]


def _stack(framed: Sequence[tuple[int, Tensor, Size]]) -> Frames:
    indices, images, sizes = zip(*framed, strict=True)
    return Frames(list(indices), torch.stack(images), torch.tensor(sizes))
