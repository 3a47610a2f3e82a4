"""A balanced random choice of candidates for the losses.

Source: sections 4.1 and 5 of the FPN paper: 256 anchors and 512 regions of an image. The share of positives (a half,
a quarter) is that of Faster and Fast R-CNN.

Legend
    M   candidates of an image: anchors, or proposals and ground truth
"""

import numpy as np
import torch
from torch import Tensor

from model.training.matching import NEGATIVE, POSITIVE


def generator_of(seed: int, step: int, position: int) -> torch.Generator:
    """What draws for one image: the one at `position` of a step's whole batch.

    So a draw depends neither on the steps before nor on how the batch is divided.
    """
    [state] = np.random.SeedSequence((seed, step, position)).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state) >> 1)  # torch wants 63 bits


def sample(
    kinds: Tensor, count: int, positive_fraction: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Indices (positives, negatives), int64, of at most `count` candidates together.

    At most `positive_fraction` of `count` are positive; negatives fill what is left.

    Args:
        kinds: [M] from `matching.match`.
        count: how many in all.
        positive_fraction: 0..1.
        generator: a CPU generator, whatever device `kinds` is on: a run's draws do not depend on its device.
    """
    positive = torch.nonzero(kinds == POSITIVE).squeeze(1)
    negative = torch.nonzero(kinds == NEGATIVE).squeeze(1)
    positive = _choose(positive, int(count * positive_fraction), generator)
    return positive, _choose(negative, count - positive.numel(), generator)


def _choose(indices: Tensor, count: int, generator: torch.Generator) -> Tensor:
    if indices.numel() <= count:
        return indices
    chosen = torch.randperm(indices.numel(), generator=generator)[:count]
    return indices[chosen.to(indices.device)]
