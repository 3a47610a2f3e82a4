"""Which images an epoch puts together, and how a batch is shared.

An epoch's plan is a pure function of the seed and the epoch's number, and holds every random choice (order, mirror
images, scale). A run that is resumed makes the same plan again and goes on behind the batch where it stopped.

Batches pad to their largest image, so landscape and portrait images are kept apart, as in torchvision's and
Detectron2's samplers, images of like aspect go together, and a batch has one short side. What is left over of the two
orientations shares the last batches, so that every image is drawn once an epoch and an epoch of I images has
ceil(I / batch_size) batches.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np

from model.config.resize import Size
from model.config.training import TrainConfig

# Batches' worth of images, drawn at random, among which those of like aspect are put together. On Pascal VOC at
# batches of 8, padded frames have 1.57 times the images' pixels in any order, 1.16 with the orientations apart, and
# 1.07 with this; were all images sorted, 1.04, but then an epoch's batches would be much like the last one's.
WINDOW = 8


@dataclass(frozen=True)
class Draw:
    """One appearance of an image in training: its index, whether mirrored, at which short side."""

    index: int
    flip: bool
    short_side: int


@dataclass(frozen=True)
class Share:
    """What one process takes at once of a batch: some draws, and their positions in the whole.

    `whole` counts the batch's images, `frame` is its (height, width): neither depends on how it is divided.
    """

    draws: tuple[Draw, ...]
    positions: tuple[int, ...]
    whole: int
    frame: Size


def batches_of_epochs(sizes: Sequence[Size], config: TrainConfig) -> Iterator[list[Draw]]:
    """The batches of a run over images of `sizes`, (height, width) each, epoch after epoch without end."""
    for epoch in count():
        yield from plan_epoch(
            sizes,
            seed=config.seed,
            epoch=epoch,
            batch_size=config.schedule.batch_size,
            short_sides=config.data.short_sides or (config.model.resize.short_side,),
            flip=config.data.flip,
        )


def plan_epoch(
    sizes: Sequence[Size],
    *,
    seed: int,
    epoch: int,
    batch_size: int,
    short_sides: Sequence[int],
    flip: bool = True,
) -> list[list[Draw]]:
    """The batches of an epoch over images of `sizes`, each image in exactly one.

    Args:
        sizes: (height, width) of each image.
        seed: of the run, not negative.
        epoch: from 0.
        batch_size: of all batches but one, which may be smaller.
        short_sides: each batch draws one of these.
        flip: draw mirror images, each with probability one half.
    """
    rng = np.random.default_rng((seed, epoch))
    order = [int(index) for index in rng.permutation(len(sizes))]
    portrait = [index for index in order if sizes[index][0] > sizes[index][1]]
    landscape = [index for index in order if sizes[index][0] <= sizes[index][1]]
    full, left = [], []
    for group in (landscape, portrait):
        end = len(group) - len(group) % batch_size
        for window in _chunks(group[:end], WINDOW * batch_size):
            full += _chunks(sorted(window, key=lambda i: sizes[i][1] / sizes[i][0]), batch_size)
        left += group[end:]
    batches = full + _chunks(left, batch_size)
    plan = []
    for batch in (batches[int(position)] for position in rng.permutation(len(batches))):
        short_side = short_sides[int(rng.integers(len(short_sides)))]
        flips = rng.random(len(batch)) < 0.5
        plan.append(
            [Draw(i, flip and bool(f), short_side) for i, f in zip(batch, flips, strict=True)]
        )
    return plan


def _chunks(indices: Sequence[int], length: int) -> list[list[int]]:
    return [list(indices[start : start + length]) for start in range(0, len(indices), length)]


def divide(batch: Sequence[Draw], frame: Size, parts: int) -> list[Share]:
    """The shares of `parts` takers, who take its images in turn; of a small batch some are empty."""
    positions = range(len(batch))
    return [
        Share(tuple(batch[part::parts]), tuple(positions[part::parts]), len(batch), frame)
        for part in range(parts)
    ]
