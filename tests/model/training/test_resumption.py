"""A run goes on only as it would have gone on without the interruption."""

from pathlib import Path

import pytest
import torch

from model.config.files import to_mapping
from model.config.training import TrainConfig
from model.network.checkpoint import TrainingState, save_checkpoint
from model.network.detector import Detector
from model.training.precision import Precision
from model.training.resumption import RunError, differences, interrupted, require_no_run
from tests.model.small import COLOURS, run_config

FLOAT32 = Precision("float32", "this CPU has none of avx512_bf16")
BFLOAT16 = Precision("bfloat16", "this CPU computes in it")


@pytest.fixture
def config(tmp_path: Path) -> TrainConfig:
    return run_config(tmp_path, 4, precision="auto")


@pytest.fixture
def last(tmp_path: Path, config: TrainConfig) -> Path:
    """The checkpoint of a run that `auto` began in bfloat16."""
    last = tmp_path / "run" / "last.pt"
    with torch.device("meta"):
        detector = Detector(config.model, tuple(COLOURS))
    state = TrainingState(to_mapping(config), 2, {}, {}, "bfloat16", "digest", {})
    save_checkpoint(last, detector.to_empty(device="cpu"), state)
    return last


def with_precision(tmp_path: Path, name: str) -> TrainConfig:
    return run_config(tmp_path, 4, precision=name)


def test_a_run_goes_on_in_the_precision_that_it_was_begun_in(
    last: Path, config: TrainConfig, caplog: pytest.LogCaptureFixture
) -> None:
    assert interrupted(last, config, "digest", BFLOAT16).step == 2
    assert caplog.records == []


def test_a_machine_that_auto_takes_another_precision_on_is_refused_with_what_to_do(
    last: Path, config: TrainConfig
) -> None:
    with pytest.raises(RunError, match=r"begun in bfloat16, .* float32 \(this CPU") as caught:
        interrupted(last, config, "digest", FLOAT32)
    assert "--set precision=float32 or --set precision=mixed" in str(caught.value)


def test_another_precision_that_is_asked_for_by_name_is_taken_with_a_warning(
    last: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    asked = with_precision(tmp_path, "float32")
    assert interrupted(last, asked, "digest", FLOAT32).step == 2
    [warning] = [record for record in caplog.records if record.levelname == "WARNING"]
    assert "begun in bfloat16, goes on in float32" in warning.getMessage()


def test_the_same_precision_by_name_is_no_other_run(
    last: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    asked = with_precision(tmp_path, "mixed")
    assert interrupted(last, asked, "digest", BFLOAT16).step == 2
    assert caplog.records == []


def test_other_data_are_refused(last: Path, config: TrainConfig) -> None:
    with pytest.raises(RunError, match="begun with other training data"):
        interrupted(last, config, "another digest", BFLOAT16)


def test_another_configuration_is_refused_naming_every_setting(last: Path, tmp_path: Path) -> None:
    other = run_config(tmp_path, 4, precision="auto", seed=4, stage="rpn")
    with pytest.raises(RunError, match="seed was 3, is 4; stage was joint, is rpn"):
        interrupted(last, other, "digest", BFLOAT16)


def test_there_must_be_a_checkpoint(tmp_path: Path, config: TrainConfig) -> None:
    with pytest.raises(RunError, match="no checkpoint to resume from"):
        interrupted(tmp_path / "last.pt", config, "digest", FLOAT32)


def test_a_folder_with_a_run_is_refused_to_another(last: Path, tmp_path: Path) -> None:
    require_no_run(tmp_path / "last.pt")
    with pytest.raises(RunError, match=r"last.pt exists: pass --resume"):
        require_no_run(last)


def test_differences_are_told_by_the_whole_key_and_free_ones_are_not() -> None:
    then = {"name": "a", "schedule": {"steps": 3, "momentum": 0.9}, "seed": 1}
    now = {"name": "b", "schedule": {"steps": 5, "momentum": 0.5}, "seed": 1}
    assert list(differences(then, now)) == ["schedule.momentum was 0.9, is 0.5"]
