"""How long a run is: epochs to steps."""

from dataclasses import replace
from math import ceil

from model.config.files import ConfigError
from model.config.training import ScheduleConfig


def in_steps(schedule: ScheduleConfig, images: int) -> ScheduleConfig:
    """The schedule with steps in place of epochs, which are of `images`.

    Raises:
        ConfigError: the warm-up would never end.
    """
    if not schedule.epochs:
        return schedule
    a_epoch = ceil(images / schedule.batch_size)
    steps = ceil(schedule.epochs * a_epoch)
    if schedule.warmup_steps >= steps:
        raise ConfigError(
            f"schedule.warmup_steps: expected fewer than the {steps} steps of {schedule.epochs:g} epochs of {images}"
            f" images, got {schedule.warmup_steps}"
        )
    drops = sorted({max(1, round(epoch * a_epoch)) for epoch in schedule.decay_epochs})
    return replace(schedule, steps=steps, decay_steps=tuple(drops), epochs=0.0, decay_epochs=())
