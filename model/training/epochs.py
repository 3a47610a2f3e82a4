"""Which images an epoch puts together, and how a batch is shared.

An epoch's plan is a pure function of the seed and the epoch's number, and holds every random choice (order, mirror
images, scale). A run that is resumed makes the same plan again and goes on behind the batch where it stopped.

Batches pad to their largest image, so landscape and portrait images are kept apart, as in torchvision's and
Detectron2's samplers, images of like aspect go together, and a batch has one short side. What is left over of the two
orientations shares the last batches, so that every image is drawn once an epoch and an epoch of I images has
ceil(I / batch_size) batches.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count
from math import sqrt

import numpy as np

from model.config.resize import Size
from model.config.training import TrainConfig

# Batches' worth of images, drawn at random, among which those of like aspect are put together. On Pascal VOC at
# batches of 8, padded frames have 1.57 times the images' pixels in any order, 1.16 with the orientations apart, and
# 1.07 with this; were all images sorted, 1.04, but then an epoch's batches would be much like the last one's.
WINDOW = 8


@dataclass(frozen=True)
class Draw:
    """One appearance of an image in training: its index, whether mirrored, at which short side.

    `seed` is of what else happens to it (augmentation.py).
    """

    index: int
    flip: bool
    short_side: int
    seed: int = 0


@dataclass(frozen=True)
class Share:
    """What one process takes at once of a batch: some draws, and their positions in the whole.

    `whole` counts the batch's images, `frame` is its (height, width): neither depends on how it is divided.
    """

    draws: tuple[Draw, ...]
    positions: tuple[int, ...]
    whole: int
    frame: Size


def batches_of_epochs(
    sizes: Sequence[Size], config: TrainConfig, repeats: Sequence[float] = ()
) -> Iterator[list[Draw]]:
    """The batches of a run over images of `sizes`, (height, width) each, epoch after epoch without end.

    `repeats` says how often an epoch has each of them (`repeat_factors`); once, where it is empty.
    """
    for epoch in count():
        drawn = repeated(repeats or [1.0] * len(sizes), config.seed, epoch)
        plan = plan_epoch(
            [sizes[index] for index in drawn],
            seed=config.seed,
            epoch=epoch,
            batch_size=config.schedule.batch_size,
            short_sides=config.data.short_sides or (config.model.resize.short_side,),
            flip=config.data.flip,
        )
        for batch in plan:
            yield [replace(draw, index=drawn[draw.index]) for draw in batch]


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
    # of its own, so that what else is drawn stays the same whether images are augmented or not
    more = np.random.default_rng((seed, epoch, 1))
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
        seeds = more.integers(2**31, size=len(batch))
        plan.append(
            [
                Draw(index, flip and bool(mirrored), short_side, int(own))
                for index, mirrored, own in zip(batch, flips, seeds, strict=True)
            ]
        )
    return plan


def repeated(repeats: Sequence[float], seed: int, epoch: int) -> list[int]:
    """The indices of an epoch's images, each as often as it `repeats`; a fraction is the probability of once more."""
    rng = np.random.default_rng((seed, epoch, 2))
    times = np.floor(np.array(repeats) + rng.random(len(repeats))).astype(int)
    return [index for index, often in enumerate(times) for _ in range(often)]


def repeat_factors(labels: Sequence[Sequence[int]], threshold: float) -> list[float]:
    """How often an epoch has each image, by its `labels`: repeat-factor sampling, at least once.

    Source: Gupta et al. 2019 (LVIS), appendix B: a class that a share f of the images show repeats them max(1,
    sqrt(t / f)) times, and an image is repeated for the rarest of its classes.
    """
    shown = Counter(label for each in labels for label in set(each))
    often = {label: sqrt(threshold * len(labels) / count) for label, count in shown.items()}
    return [max([1.0, *(often[label] for label in set(each))]) for each in labels]


def _chunks(indices: Sequence[int], length: int) -> list[list[int]]:
    return [list(indices[start : start + length]) for start in range(0, len(indices), length)]


def divide(batch: Sequence[Draw], frame: Size, parts: int) -> list[Share]:
    """The shares of `parts` takers, who take its images in turn; of a small batch some are empty."""
    positions = range(len(batch))
    return [
        Share(tuple(batch[part::parts]), tuple(positions[part::parts]), len(batch), frame)
        for part in range(parts)
    ]
