"""Training batches: the images that a plan draws, decoded, resized and put into one frame with their targets.

Workers decode and resize, and draw nothing: what is random stands in the plan (epochs.py).

    N      images of a batch        G     boxes of one image        P     proposals of one image
    H, W   the batch's frame: the largest height and width of its images, in multiples of 32
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from model.config.resize import ResizeRule, Size, least_frame
from model.config.training import AugmentConfig
from model.data.coco import CocoDataset
from model.data.proposal_file import ProposalSet
from model.data.transforms import flip_horizontal, image_tensor, resize_image, scale_boxes
from model.data.workers import leave_signals
from model.training.augmentation import augmented
from model.training.epochs import Draw, Share


@dataclass(frozen=True)
class Sample:
    """One image ready to be batched.

    `image` is uint8 [3, height, width] RGB; `boxes` is float32 [G, 4], x1 y1 x2 y2 pixels of it;
    `labels` is int64 [G]; `proposals` is float32 [P, 4], None where they are not given.
    """

    image: Tensor
    boxes: Tensor
    labels: Tensor
    proposals: Tensor | None = None


@dataclass(frozen=True)
class Batch:
    """Images placed top-left in one frame, with their targets: a share of a whole batch, or all of it.

    `images` is uint8 [N, 3, H, W], zero beyond the content; `sizes` is int64 [N, 2], the (height,
    width) of each content; `gt_boxes` and `gt_labels` hold N tensors as in `Sample`, and so does
    `proposals`, or nothing where they are not given. `positions` are their N places among the
    `whole` batch's images.
    """

    images: Tensor
    sizes: Tensor
    gt_boxes: list[Tensor]
    gt_labels: list[Tensor]
    positions: tuple[int, ...]
    whole: int
    proposals: list[Tensor] = field(default_factory=list)

    def to(self, device: torch.device | str) -> "Batch":
        """The batch on `device`; from pinned memory the copy does not block."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> "Batch":
        """The batch in pinned memory; the DataLoader calls this by name."""
        return self._each(Tensor.pin_memory)

    def _each(self, change: Callable[[Tensor], Tensor]) -> "Batch":
        return Batch(
            change(self.images),
            change(self.sizes),
            [change(boxes) for boxes in self.gt_boxes],
            [change(labels) for labels in self.gt_labels],
            self.positions,
            self.whole,
            [change(boxes) for boxes in self.proposals],
        )


class TrainingSet(Dataset[Sample]):
    """The images of a data set as a plan draws them; indexed by a `Draw`.

    Args:
        dataset: what is drawn from.
        resize: the rule; another short side than its own scales the longest side along.
        proposals: of the images, to go with them; None where a stage makes its own.
        count: the best so many of each image's.
        augment: what else the images go through.
    """

    def __init__(
        self,
        dataset: CocoDataset,
        resize: ResizeRule,
        proposals: ProposalSet | None = None,
        count: int = 0,
        augment: AugmentConfig | None = None,
    ) -> None:
        self.dataset = dataset
        self.resize = resize
        self.proposals = proposals
        self.count = count
        self.augment = augment or AugmentConfig()

    def __len__(self) -> int:
        """The number of images."""
        return len(self.dataset)

    def __getitem__(self, draw: Draw) -> Sample:
        """The image that `draw` describes, resized by the rule.

        Raises:
            DataError: its file cannot be decoded.
        """
        rule = self.resize.at_short_side(draw.short_side)
        if self.augment.changes_images:
            # Whole: it may be enlarged.
            image, boxes, labels = self.dataset.load(draw.index)
            if draw.flip:
                image, boxes = flip_horizontal(image, boxes)
            return Sample(*augmented(image, (boxes, labels), rule, self.augment, draw.seed))
        image, boxes, labels = self.dataset.load(draw.index, rule)
        size = self.dataset.records[draw.index].size
        given = torch.from_numpy(self._given(draw.index))
        image = resize_image(image, size, rule)
        both = scale_boxes(torch.cat([boxes, given]), size, (image.height, image.width))
        if draw.flip:
            image, both = flip_horizontal(image, both)
        boxes, given = both[: len(boxes)], both[len(boxes) :]
        return Sample(image_tensor(image), boxes, labels, given if self.proposals else None)

    def frame(self, draws: Sequence[Draw]) -> Size:
        """The least frame that holds every image of `draws`."""
        return least_frame(
            self.resize.at_short_side(draw.short_side).content_size(
                self.dataset.records[draw.index].size
            )
            for draw in draws
        )

    def _given(self, index: int) -> npt.NDArray[np.float32]:
        """The proposals [P, 4] that go with an image, in its pixels; none where a stage makes its own."""
        if self.proposals is None:
            return np.zeros((0, 4), dtype=np.float32)
        return self.proposals.of(self.dataset.records[index].image_id, self.count).boxes


def collate(samples: Sequence[Sample], share: Share) -> Batch:
    """The samples of a share, in its order, as one batch."""
    sizes = torch.tensor([sample.image.shape[1:] for sample in samples])
    images = torch.zeros((len(samples), 3, *share.frame), dtype=torch.uint8)
    for image, sample in zip(images, samples, strict=True):
        _, height, width = sample.image.shape
        image[:, :height, :width] = sample.image
    return Batch(
        images=images,
        sizes=sizes,
        gt_boxes=[sample.boxes for sample in samples],
        gt_labels=[sample.labels for sample in samples],
        positions=share.positions,
        whole=share.whole,
        proposals=[sample.proposals for sample in samples if sample.proposals is not None],
    )


class _Steps(Dataset[list[Batch]]):
    """What a process takes for one step: a batch for each of its shares that is not empty."""

    def __init__(self, dataset: TrainingSet) -> None:
        self.dataset = dataset

    def __getitem__(self, shares: Sequence[Share]) -> list[Batch]:
        return [
            collate([self.dataset[draw] for draw in share.draws], share)
            for share in shares
            if share.draws
        ]


def training_loader(
    dataset: TrainingSet, steps: Iterable[Sequence[Share]], workers: int
) -> DataLoader[list[Batch]]:
    """What iterates over the batches of each step, in order, from one start of its `workers` to the last step.

    0 workers means this process.
    """
    return DataLoader(
        _Steps(dataset),
        sampler=steps,
        batch_size=None,
        num_workers=workers,
        worker_init_fn=leave_signals,
        pin_memory=torch.cuda.is_available(),
    )
