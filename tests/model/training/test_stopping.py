"""Runs that end before their last step, and what is left of them."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from model.errors import Stopped
from model.network.checkpoint import load_training
from model.train import main
from model.training.precision import precision_for
from model.training.processes import ALONE
from model.training.run import Run
from model.training.stopping import Stopping
from tests.model.small import run_config, run_values
from tests.model.test_train import end_after, metrics

pytestmark = pytest.mark.usefixtures("one_thread")

NOT_YET = 10_000  # steps that no test waits for


def scored(photos: Path, steps: int, **schedule: object) -> dict[str, Any]:
    """The values of a run that is evaluated on what it trains on."""
    values = run_values(photos, steps)
    values["data"] |= {"val_annotations": "train.json", "val_images": "."}
    values["schedule"] |= schedule
    return values


def begun(values: dict[str, Any], folder: Path) -> str:
    path = folder / "run.json"
    path.write_text(json.dumps(values))
    return str(path)


def train(config: str, out: Path, *options: str) -> int:
    return main([config, "--out", str(out), "--device", "cpu", *options])


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_run_that_is_sent_a_signal_saves_its_last_step_and_goes_on_from_it(
    photos: Path, tmp_path: Path, number: signal.Signals, status: int
) -> None:
    config = begun(run_values(photos, NOT_YET), tmp_path)
    assert end_after(config, tmp_path / "run", 2, number) == status
    assert f"{number.name} came after step" in (tmp_path / "run.log").read_text()
    done = load_training(tmp_path / "run" / "last.pt").step
    assert [line["step"] for line in metrics(tmp_path / "run")] == list(range(1, done + 1))
    more = ("--set", f"schedule.steps={done + 1}")
    assert train(config, tmp_path / "run", "--resume", *more) == 0
    assert train(config, tmp_path / "whole", *more) == 0
    assert metrics(tmp_path / "run") == metrics(tmp_path / "whole")


def test_a_signal_within_a_step_waits_for_its_end() -> None:
    with Stopping(ALONE) as stopping:
        ends: list[str] = []

        def step() -> None:
            with stopping.whole():
                os.kill(os.getpid(), signal.SIGTERM)
                ends.append("of the step")

        with pytest.raises(Stopped) as stopped:
            step()
        assert ends == ["of the step"]
        assert stopped.value.number == signal.SIGTERM


def test_a_signal_between_steps_acts_at_once_and_a_second_one_within_a_step() -> None:
    with Stopping(ALONE) as stopping:
        with pytest.raises(Stopped):
            os.kill(os.getpid(), signal.SIGINT)
        assert not stopping.broken

        def step() -> None:
            with stopping.whole():
                os.kill(os.getpid(), signal.SIGINT)
                pytest.fail("the second signal was not heard")

        with pytest.raises(Stopped):
            step()
        assert stopping.broken


def test_signals_are_left_to_whom_they_were_before() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with Stopping(ALONE):
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_run_out_of_time_is_saved_after_a_step(photos: Path, tmp_path: Path) -> None:
    config = run_config(photos, 5)
    run = Run(config, tmp_path / "run", "cpu", precision_for("float32", "cpu"), False)
    run.execute(limit_s=1e-9)
    assert load_training(tmp_path / "run" / "last.pt").step == 1
    assert (tmp_path / "run" / "model.pt").exists()


def test_what_an_evaluation_could_not_end_is_saved_before_it_and_made_up_for(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values = scored(photos, 2)
    (tmp_path / "val").mkdir()
    for picture in photos.glob("*.png"):
        (tmp_path / "val" / picture.name).write_bytes(picture.read_bytes())
    damaged = tmp_path / "val" / "004.png"
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:1000])  # its header is sound
    values["data"] |= {"val_images": str(tmp_path / "val"), "verify": False}
    config = begun(values, tmp_path)
    assert train(config, tmp_path / "run") == 2
    assert "004.png: cannot be decoded" in capsys.readouterr().err
    assert load_training(tmp_path / "run" / "last.pt").step == 2
    damaged.write_bytes(whole)
    assert train(config, tmp_path / "run", "--resume") == 0
    assert [("AP" in line, line["step"]) for line in metrics(tmp_path / "run")] == [
        (False, 1),
        (False, 2),
        (True, 2),
    ]


def test_a_run_that_gets_no_better_ends_and_keeps_its_best(photos: Path, tmp_path: Path) -> None:
    # At this rate no figure changes, so the first evaluation stays the best.
    values = scored(photos, 9, learning_rate=1e-12) | {"eval_every": 1, "patience": 2}
    config = begun(values | {"keep_every": 2}, tmp_path)
    assert train(config, tmp_path / "run") == 0
    assert load_training(tmp_path / "run" / "last.pt").step == 3
    kept = {path.name for path in (tmp_path / "run").glob("*.pt")}
    assert kept == {"last.pt", "model.pt", "best.pt", "step-2.pt"}
    assert train(config, tmp_path / "run", "--resume") == 0  # still no better
    assert load_training(tmp_path / "run" / "last.pt").step == 3
    assert train(config, tmp_path / "run", "--resume", "--set", "patience=3") == 0
    assert load_training(tmp_path / "run" / "last.pt").step == 4
