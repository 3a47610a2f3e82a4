from pathlib import Path

import pytest

from model.config.files import ConfigError, from_mapping, load_config
from model.config.training import TrainConfig
from tests.model.config.shipped import RUN, SHIPPED


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_shipped_run_ends_after_its_last_decay(path: Path) -> None:
    schedule = load_config(path).schedule
    assert schedule.warmup_steps < schedule.decay_steps[0]
    assert schedule.decay_steps[-1] < schedule.steps


def test_decay_steps_that_do_not_rise_are_refused() -> None:
    with pytest.raises(ConfigError, match="decay_steps must rise"):
        from_mapping(TrainConfig, RUN | {"schedule": {"decay_steps": [20, 10]}}, "here")
