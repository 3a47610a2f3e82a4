"""The losses of the proposal head and of the region head.

Source: Faster R-CNN (Ren et al. 2015), equation 1, on every pyramid level at once (section 4.1 of the FPN paper), and
Fast R-CNN (Girshick 2015), equations 1 to 3. An image's classification terms are means over its sampled candidates; its
box terms are smooth L1 sums over the positives, divided by the same number. A batch's are the means of its images',
so they are the sums of its shares', however it is divided among processes.

Legend
    S   anchors or regions sampled for a stage, all images together (targets.py)
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from model.config.detector import RoiConfig, RpnConfig
from model.config.training import StageName
from model.network.boxes import encode_boxes
from model.network.roi import RoiPredictions
from model.network.rpn import BOX_WEIGHTS, LevelPredictions
from model.training.targets import AnchorSample, RegionSample


class Losses(NamedTuple):
    """The four terms, scalars that are minimised as their sum; None where a stage does without."""

    objectness: Tensor | None = None
    proposal_box: Tensor | None = None
    classification: Tensor | None = None
    box: Tensor | None = None

    def terms(self) -> dict[str, Tensor]:
        """Those that there are, by name."""
        return {name: value for name, value in self._asdict().items() if value is not None}

    def total(self) -> Tensor:
        """What is minimised."""
        return torch.stack(list(self.terms().values())).sum()


# The terms that each stage has.
TERMS: dict[StageName, tuple[str, ...]] = {
    "joint": Losses._fields,
    "rpn": ("objectness", "proposal_box"),
    "fast": ("classification", "box"),
}


def rpn_losses(
    predictions: LevelPredictions, chosen: AnchorSample, images: int, config: RpnConfig
) -> tuple[Tensor, Tensor]:
    """The objectness and proposal-box losses over the `chosen` anchors, of which the head says `predictions`.

    `images` are those of the whole batch, of which these may be a share.
    """
    weights = _weights(chosen.images, images)
    target = chosen.labels.to(predictions.logits)
    objectness = F.binary_cross_entropy_with_logits(predictions.logits, target, reduction="none")
    positive = torch.nonzero(chosen.labels).squeeze(1)
    targets = encode_boxes(chosen.boxes[positive], chosen.gt_boxes[positive], BOX_WEIGHTS)
    box = _smooth_l1(predictions.deltas[positive], targets, config.box_loss_beta)
    return (objectness * weights).sum(), (box * weights[positive]).sum()


def roi_losses(
    predictions: RoiPredictions, regions: RegionSample, images: int, config: RoiConfig
) -> tuple[Tensor, Tensor]:
    """The classification and box losses over the sampled `regions`; `images` as in `rpn_losses`."""
    background = predictions.deltas.shape[1]
    weights = _weights(regions.images, images)
    classification = F.cross_entropy(predictions.logits, regions.labels, reduction="none")
    positive = torch.nonzero(regions.labels != background).squeeze(1)
    targets = encode_boxes(regions.boxes[positive], regions.gt_boxes[positive], config.box_weights)
    deltas = predictions.deltas[positive, regions.labels[positive]]
    box = _smooth_l1(deltas, targets, config.box_loss_beta)
    return (classification * weights).sum(), (box * weights[positive]).sum()


def _weights(owners: Tensor, images: int) -> Tensor:
    """What each of S candidates weighs: an image's share of `images`, divided among those that it `owners` [S]."""
    return 1.0 / (owners.bincount()[owners] * images)


def _smooth_l1(pred: Tensor, target: Tensor, beta: float) -> Tensor:
    """Of each box: summed over its four deltas."""
    return F.smooth_l1_loss(pred, target, beta=beta, reduction="none").sum(dim=-1)
