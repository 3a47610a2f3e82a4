"""What a run would be, said before it is begun: the network, its size, the schedule, the time that it takes.

`fpn-train CONFIG --dry-run` takes a few steps on the run's own batches to time them, and writes nothing.
"""

import statistics
import time
from collections.abc import Iterable
from itertools import islice

import torch
from torch import Tensor, nn

from model.training.run import Run

WARM_UP, TIMED = 1, 3  # steps


def describe(run: Run) -> str:
    """A few lines on `run`, whose weights the timed steps change."""
    detector, schedule = run.trainer.detector, run.config.schedule
    parts: dict[str, nn.Module] = {
        f"backbone {detector.config.backbone.name}": detector.backbone,
        f"pyramid {detector.config.pyramid.kind}": detector.fpn,
        "proposal head": detector.rpn,
        f"region head {detector.config.roi.head}": detector.roi,
        "all": detector,
    }
    processes, accumulate = run.processes.count, schedule.accumulate
    images = len(run.datasets.training.records)
    steps = schedule.steps - run.done
    seconds = _seconds_a_step(run)
    return "\n".join(
        [
            *(f"{name}: {_parameters(module.parameters())}" for name, module in parts.items()),
            f"stage: {run.config.stage}, on {run.trainer.device}",
            f"precision: {run.precision}",
            f"batch: {schedule.batch_size} images = {processes} processes x {accumulate} micro-batches"
            f" x {schedule.batch_size // (processes * accumulate)}",
            f"learning rate: {schedule.scaled_learning_rate:g}"
            f" = {schedule.learning_rate:g} x {schedule.batch_size} / 16",
            f"steps: {steps}, which is {steps * schedule.batch_size / images:.1f} epochs of {images} images",
            f"time: {seconds * steps / 3600:.2f} hours at {seconds:.2f} s a step, without evaluation",
        ]
    )


def _parameters(parameters: Iterable[Tensor]) -> str:
    every = list(parameters)
    trained = sum(parameter.numel() for parameter in every if parameter.requires_grad)
    return f"{trained:,} of {sum(p.numel() for p in every):,} parameters are trained"


def _seconds_a_step(run: Run) -> float:
    """The median of some steps, with the loading of their images."""
    durations = []
    started = time.perf_counter()
    for number, batches in enumerate(islice(run.batches(), WARM_UP + TIMED)):
        run.trainer.step(run.done + number, batches)
        if run.trainer.device.type == "cuda":
            torch.cuda.synchronize(run.trainer.device)
        durations.append(time.perf_counter() - started)
        started = time.perf_counter()
    return statistics.median(durations[WARM_UP:] or durations or [0.0])
