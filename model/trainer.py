"""One training step: losses of a batch, gradients, SGD with warm-up and step decay.

Source: section 4 of the FPN paper; joint training of both stages, as Detectron and torchvision do it, or one
stage by itself, as in the paper (stages.py). Biases do not decay, as in Detectron.
"""

import math
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

from model.batches import Batch
from model.cells import Cells, align_regions, neighbourhoods, table_of
from model.config import ScheduleConfig, TrainConfig
from model.detector import Detector
from model.losses import Losses, roi_losses, rpn_losses, sample_anchors, sample_regions
from model.proposals import stacked
from model.roi import pool_regions
from model.rpn import Proposals, best_of_all_levels, propose

REMEDY = "Lower schedule.learning_rate, lengthen schedule.warmup_steps or set schedule.clip_norm."


class DivergedError(RuntimeError):
    """A loss or a gradient that is no longer a number."""


def learning_rate(step: int, schedule: ScheduleConfig) -> float:
    """The learning rate of `step` (counted from 0): a linear warm-up, then a drop at each of `decay_steps`."""
    rate = schedule.learning_rate
    if step < schedule.warmup_steps:
        progress = step / schedule.warmup_steps
        rate *= schedule.warmup_factor * (1 - progress) + progress
    return rate * schedule.decay ** sum(step >= drop for drop in schedule.decay_steps)


class Trainer:
    """Holds what changes from step to step: the weights, the optimizer, the sampling generator.

    Args:
        detector: on the device that it is to train on.
        config: the run's.
    """

    def __init__(self, detector: Detector, config: TrainConfig) -> None:
        self.detector = detector.train().to(memory_format=torch.channels_last)
        self.config = config
        self.device = detector.mean.device
        self.generator = torch.Generator().manual_seed(config.seed)
        self.optimizer = torch.optim.SGD(
            _decayed_and_not(detector, config.schedule.weight_decay),
            lr=config.schedule.learning_rate,
            momentum=config.schedule.momentum,
        )
        on_cuda = self.device.type == "cuda"
        self.scaler = torch.amp.GradScaler(
            self.device.type, enabled=on_cuda and config.precision == "mixed"
        )

    def autocast(self) -> AbstractContextManager[None]:
        """Mixed precision for the network; losses and box arithmetic stay float32 outside of it."""
        dtype = torch.float16 if self.device.type == "cuda" else torch.bfloat16
        return torch.autocast(
            self.device.type, dtype=dtype, enabled=self.config.precision == "mixed"
        )

    def losses(self, batch: Batch) -> Losses:
        """The losses of the run's stage on `batch`, which must be on the trainer's device."""
        stage = self.config.stage
        images = self.detector.normalise(batch.images, batch.sizes)
        with self.autocast():
            maps = self.detector.features(images.contiguous(memory_format=torch.channels_last))
        cells = table_of(maps)
        if stage == "fast":
            proposals = stacked(batch.proposals)
            return Losses(None, None, *self._region_losses(maps, cells, proposals, batch))
        of_anchors = self._anchor_losses(maps, cells, batch)
        if stage == "rpn":
            return Losses(*of_anchors)
        proposals = self._proposals(maps, batch.sizes)
        return Losses(*of_anchors, *self._region_losses(maps, cells, proposals, batch))

    def _anchor_losses(
        self, maps: tuple[Tensor, ...], cells: Cells, batch: Batch
    ) -> tuple[Tensor, Tensor]:
        """The objectness and proposal-box losses; the head looks only at the anchors that are drawn."""
        detector, config = self.detector, self.detector.config.rpn
        anchors = torch.cat(detector.anchors(maps))
        chosen = sample_anchors(anchors, batch.gt_boxes, config, self.generator)
        shapes = detector.rpn.anchors_per_cell
        with self.autocast():
            seen = neighbourhoods(cells, chosen.images, chosen.places // shapes)
            predictions = detector.rpn.at(seen, chosen.places % shapes)
        return rpn_losses(predictions, chosen, config)

    @torch.no_grad()
    def _proposals(self, maps: tuple[Tensor, ...], sizes: Tensor) -> Proposals:
        """What the proposal head offers the second stage in joint training: it looks at all anchors."""
        rpn = self.detector.config.rpn
        with self.autocast():
            predictions = self.detector.rpn(maps)
        anchors = self.detector.anchors(maps)
        by_level = propose(predictions, anchors, sizes, rpn, rpn.pre_nms_train)
        return best_of_all_levels(by_level, rpn.post_nms_train)

    def _region_losses(
        self, maps: tuple[Tensor, ...], cells: Cells, proposals: Proposals, batch: Batch
    ) -> tuple[Tensor, Tensor]:
        """The classification and box losses on regions drawn from `proposals` and ground truth."""
        detector, config = self.detector, self.detector.config.roi
        regions = sample_regions(
            proposals,
            batch.gt_boxes,
            batch.gt_labels,
            len(detector.class_names),
            config,
            self.generator,
        )
        where = regions.boxes, regions.images, config, detector.pooled_levels
        with self.autocast():
            # The maximum of RoIPool is no sum of cells.
            align = config.pooling == "align"
            pooled = align_regions(cells, *where) if align else pool_regions(maps, *where)
            predictions = detector.roi(pooled)
        return roi_losses(predictions, regions, config)

    def step(self, step: int, batch: Batch) -> dict[str, float]:
        """Train on `batch` as step number `step` (from 0); its losses, their total and the learning rate.

        Raises:
            DivergedError: the loss or its gradient is not finite. The weights are as they were.
        """
        rate = learning_rate(step, self.config.schedule)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        losses = self.losses(batch.to(self.device))
        total = losses.total()
        if not torch.isfinite(total):
            raise DivergedError(
                f"step {step + 1}: the loss is {total.item()} "
                f"({', '.join(f'{name} {value.item():.3g}' for name, value in losses.terms().items())})."
                f" {REMEDY}"
            )
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(self.scaler.scale(total))
        self._limit_gradient(step)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        values = {name: value.item() for name, value in losses.terms().items()}
        return {"loss": total.item(), **values, "lr": rate}

    def _limit_gradient(self, step: int) -> None:
        """Clip the gradient to the configured norm; refuse one that is not finite.

        A gradient scaler does the latter by itself: it skips the step and lowers its scale.
        """
        self.scaler.unscale_(self.optimizer)
        limit = self.config.schedule.clip_norm or math.inf
        norm = nn.utils.clip_grad_norm_(self.detector.parameters(), limit)
        if not self.scaler.is_enabled() and not torch.isfinite(norm):
            raise DivergedError(f"step {step + 1}: the gradient's norm is {norm.item()}. {REMEDY}")


def _decayed_and_not(detector: Detector, decay: float) -> list[dict[str, object]]:
    """Parameter groups: weights, which decay, and biases, which do not."""
    trained = [(name, p) for name, p in detector.named_parameters() if p.requires_grad]
    weights: list[Tensor] = [p for name, p in trained if not name.endswith("bias")]
    biases: list[Tensor] = [p for name, p in trained if name.endswith("bias")]
    return [{"params": weights, "weight_decay": decay}, {"params": biases, "weight_decay": 0.0}]
