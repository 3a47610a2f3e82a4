import pytest

from model.config.files import ConfigError, from_mapping
from model.config.training import ScheduleConfig
from model.training.length import in_steps


def test_epochs_become_steps_of_all_batches_the_last_smaller_one_too() -> None:
    schedule = ScheduleConfig(batch_size=4, epochs=6, decay_epochs=(3, 5.5), warmup_steps=2)
    counted = in_steps(schedule, images=10)  # three batches
    assert (counted.steps, counted.decay_steps) == (18, (9, 16))
    assert in_steps(counted, images=99) == counted


def test_a_part_of_an_epoch_is_at_least_a_step() -> None:
    schedule = ScheduleConfig(batch_size=4, epochs=0.1, warmup_steps=0)
    assert in_steps(schedule, images=10).steps == 1


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"steps": 200}, "expected warmup_steps fewer than steps, 200, got 1000"),
        ({"steps": 20, "warmup_steps": 20}, "fewer than steps, 20, got 20"),
        ({"decay_epochs": [2.0]}, "decay_epochs with epochs"),
    ],
)
def test_a_schedule_that_cannot_be_followed_is_refused(
    values: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        from_mapping(ScheduleConfig, values, "here")


def test_a_warm_up_longer_than_the_epochs_is_refused_once_these_are_counted() -> None:
    schedule = ScheduleConfig(batch_size=4, epochs=2, warmup_steps=6)
    with pytest.raises(ConfigError, match="fewer than the 6 steps of 2 epochs of 10 images, got 6"):
        in_steps(schedule, images=10)
