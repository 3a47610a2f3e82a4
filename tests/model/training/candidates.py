"""Anchors, predictions and proposals that targets and losses are made of."""

import torch
from torch import Tensor

from model.config.detector import RpnConfig
from model.network.anchors import AnchorGrid, cell_anchors
from model.network.proposals import Proposals
from model.network.rpn import LevelPredictions
from model.training.losses import rpn_losses
from model.training.targets import sample_anchors

GRIDS = ((8, 14, (4, 4)), (4, 7, (8, 8)))

ANCHORS = [
    AnchorGrid(cell_anchors((size,), (0.5, 1.0, 2.0)), *grid).all()
    for size, grid in zip((8.0, 16.0), GRIDS, strict=True)
]

EVERYTHING = RpnConfig(batch_per_image=100_000)  # takes every positive and negative: no chance
NOTHING = torch.zeros(0, 4)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def generators(count: int, seed: int = 0) -> list[torch.Generator]:
    return [generator(seed + number) for number in range(count)]


def predictions(images: int) -> list[LevelPredictions]:
    return [
        LevelPredictions(
            torch.randn((images, len(anchors)), generator=generator()).requires_grad_(),
            torch.randn((images, len(anchors), 4), generator=generator()).requires_grad_(),
        )
        for anchors in ANCHORS
    ]


def proposal_losses(
    levels: list[LevelPredictions], boxes: list[Tensor], config: RpnConfig, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """The losses over the anchors that `seed` draws, of predictions for all."""
    chosen = sample_anchors(torch.cat(ANCHORS), boxes, config, generators(len(boxes), 10 * seed))
    logits = torch.cat([level.logits for level in levels], dim=1)[chosen.images, chosen.places]
    deltas = torch.cat([level.deltas for level in levels], dim=1)[chosen.images, chosen.places]
    return rpn_losses(LevelPredictions(logits, deltas), chosen, len(boxes), config)


def proposals(*images: Tensor) -> Proposals:
    """Proposals of each image, filled up to a common count with what is not valid."""
    count = max(len(each) for each in images) + 2
    boxes, valid = (
        torch.zeros(len(images), count, 4),
        torch.zeros(len(images), count, dtype=torch.bool),
    )
    for n, each in enumerate(images):
        boxes[n, : len(each)], valid[n, : len(each)] = each, True
    order = torch.arange(count).expand(len(images), count)
    return Proposals(boxes, torch.zeros(len(images), count), valid, order)
