"""One training step: gradients of the objective, SGD with warm-up and step decay, averaged weights.

Source: section 5 of the FPN paper. Biases do not decay, as in Detectron.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from model.config.training import ScheduleConfig, TrainConfig
from model.errors import Refused
from model.network.checkpoint import TrainingState
from model.network.detector import Detector
from model.training.batches import Batch
from model.training.losses import TERMS
from model.training.objective import Objective
from model.training.precision import Precision
from model.training.processes import ALONE, Processes
from model.training.stages import ATTRIBUTES

REMEDY = "Lower schedule.learning_rate, lengthen schedule.warmup_steps or set schedule.clip_norm."


class DivergedError(Refused):
    """A loss or a gradient that is no longer a number."""


def learning_rate(step: int, schedule: ScheduleConfig) -> float:
    """The learning rate of `step` (counted from 0): a linear warm-up, then a drop at each of `decay_steps`."""
    rate = schedule.scaled_learning_rate
    if step < schedule.warmup_steps:
        progress = step / schedule.warmup_steps
        rate *= schedule.warmup_factor * (1 - progress) + progress
    return rate * schedule.decay ** sum(step >= drop for drop in schedule.decay_steps)


class Trainer:
    """Holds what changes from step to step: the weights, the optimizer, the averaged weights.

    Args:
        detector: on the device that it is to train on.
        config: the run's.
        precision: of the network.
        processes: that train it together, each with a detector that begins alike.

    Attributes:
        average: the moving average of the weights, if the schedule has one.
    """

    def __init__(
        self,
        detector: Detector,
        config: TrainConfig,
        precision: Precision,
        processes: Processes = ALONE,
    ) -> None:
        self.detector = detector.train().to(memory_format=torch.channels_last)
        self.objective = Objective(self.detector, config, precision)
        self.config = config
        self.device = detector.device
        self.processes = processes
        self.optimizer = torch.optim.SGD(
            _groups(detector, config.schedule),
            lr=config.schedule.scaled_learning_rate,
            momentum=config.schedule.momentum,
        )
        decay = config.schedule.average_decay
        self.average = (
            AveragedModel(self.detector, multi_avg_fn=get_ema_multi_avg_fn(decay))  # type: ignore[no-untyped-call]
            if decay
            else None
        )
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=precision.scaled)

    @property
    def result(self) -> Detector:
        """The detector to evaluate and to keep: the averaged one, if there is one."""
        if self.average is None:
            return self.detector
        averaged = self.average.module
        assert isinstance(averaged, Detector)
        return averaged

    def state(self) -> dict[str, dict[str, Any]]:
        """What `restore` needs: the fields of a `TrainingState` that are the trainer's."""
        return {
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "average": {} if self.average is None else self.average.state_dict(),
        }

    def restore(self, state: TrainingState) -> None:
        """Go on from `state`; the detector's weights are restored by themselves."""
        multiples = [group["multiple"] for group in self.optimizer.param_groups]
        self.optimizer.load_state_dict(state.optimizer)
        for group, multiple in zip(self.optimizer.param_groups, multiples, strict=True):
            group["multiple"] = multiple  # which older checkpoints lack
        # Without loss scaling there is none.
        if state.scaler:
            self.scaler.load_state_dict(state.scaler)
        if self.average is not None:
            self.average.load_state_dict(state.average)

    def step(self, step: int, batches: Sequence[Batch]) -> dict[str, float]:
        """Train as step number `step` (from 0) on this process's share of a batch, one of `batches` after the other.

        The whole batch's losses, their total and the learning rate come back.

        Raises:
            DivergedError: the loss or its gradient is not finite. The weights are as they were.
        """
        rate = learning_rate(step, self.config.schedule)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["multiple"]
        self.optimizer.zero_grad(set_to_none=True)
        names = TERMS[self.config.stage]
        sums = torch.zeros(len(names), device=self.device)
        for batch in batches:
            losses = self.objective.losses(step, batch.to(self.device))
            torch.autograd.backward(self.scaler.scale(losses.total()))
            sums += torch.stack(list(losses.terms().values())).detach()
        self.processes.add_up([sums])
        values = dict(zip(names, sums.tolist(), strict=True))
        total = sum(values.values())
        if not math.isfinite(total):
            raise DivergedError(
                f"step {step + 1}: the loss is {total} "
                f"({', '.join(f'{name} {value:.3g}' for name, value in values.items())}). {REMEDY}"
            )
        self._add_up_gradients()
        self._limit_gradient(step)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.average is not None:
            self.average.update_parameters(self.detector)
        return {"loss": total, **values, "lr": rate}

    def _add_up_gradients(self) -> None:
        """Make every gradient that of the whole batch; a process without images has none of its own."""
        trained = [p for group in self.optimizer.param_groups for p in group["params"]]
        if self.processes.count > 1:
            for parameter in trained:
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
            self.processes.add_up([parameter.grad for parameter in trained])

    def _limit_gradient(self, step: int) -> None:
        """Clip the gradient to the configured norm; refuse one that is not finite.

        A gradient scaler does the latter by itself: it skips the step and lowers its scale.
        """
        self.scaler.unscale_(self.optimizer)
        limit = self.config.schedule.clip_norm or math.inf
        norm = nn.utils.clip_grad_norm_(self.detector.parameters(), limit)
        if not self.scaler.is_enabled() and not torch.isfinite(norm):
            raise DivergedError(f"step {step + 1}: the gradient's norm is {norm.item()}. {REMEDY}")


def _groups(detector: Detector, schedule: ScheduleConfig) -> list[dict[str, object]]:
    """Parameter groups: for each multiple of the learning rate weights, which decay, and biases, which do not."""
    multiples = {attribute: getattr(schedule.rates, part) for part, attribute in ATTRIBUTES.items()}
    trained: dict[float, tuple[list[Tensor], list[Tensor]]] = {}
    for multiple in sorted(set(multiples.values())):
        trained[multiple] = [], []
    for name, parameter in detector.named_parameters():
        if parameter.requires_grad:
            weights, biases = trained[multiples[name.partition(".")[0]]]
            (biases if name.endswith("bias") else weights).append(parameter)
    groups: list[dict[str, object]] = []
    for multiple, (weights, biases) in trained.items():
        groups.append(
            {"params": weights, "weight_decay": schedule.weight_decay, "multiple": multiple}
        )
        groups.append({"params": biases, "weight_decay": 0.0, "multiple": multiple})
    return groups
