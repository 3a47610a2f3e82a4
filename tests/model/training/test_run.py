"""Runs that are divided, averaged or only described; test_train.py has what holds for every run."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch

from model.network.checkpoint import load_detector, read_checkpoint
from model.train import main
from tests.model.launching import LAUNCHER
from tests.model.small import run_values
from tests.places import ROOT

pytestmark = pytest.mark.usefixtures("one_thread")

PATIENCE_S = 120.0
STEPS = 4  # of 10 pictures: the third batch of an epoch has only two


@pytest.fixture(scope="module")
def config(photos: Path) -> str:
    path = photos / "run.json"
    path.write_text(json.dumps(run_values(photos, STEPS)))
    return str(path)


@pytest.fixture(scope="module")
def whole(config: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the run of one process that takes each batch at once."""
    out = tmp_path_factory.mktemp("whole") / "run"
    assert train(config, out) == 0
    return out


def train(config: str, out: Path, *options: str) -> int:
    return main([config, "--out", str(out), "--device", "cpu", *options])


def torchrun(config: str, out: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """A run of two processes on this machine."""
    return subprocess.run(
        [*LAUNCHER, config, "--out", str(out), "--device", "cpu", *options],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


def losses(out: Path) -> list[dict[str, Any]]:
    lines = (out / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k != "images_per_s"} for line in lines]


def assert_same_but_for_rounding(out: Path, whole: Path) -> None:
    """The same losses at every step and the same weights at the end."""
    ours, theirs = losses(out), losses(whole)
    assert len(ours) == len(theirs) == STEPS
    for one, other in zip(ours, theirs, strict=True):
        assert one == pytest.approx(other, rel=1e-3)
    expected = load_detector(whole / "model.pt").state_dict()
    for name, value in load_detector(out / "model.pt").state_dict().items():
        torch.testing.assert_close(value, expected[name], rtol=1e-3, atol=1e-4)


def test_micro_batches_train_as_the_batch_does(config: str, whole: Path, tmp_path: Path) -> None:
    assert train(config, tmp_path / "run", "--set", "schedule.accumulate=4") == 0
    assert_same_but_for_rounding(tmp_path / "run", whole)


def test_two_processes_train_as_one_does(config: str, whole: Path, tmp_path: Path) -> None:
    finished = torchrun(config, tmp_path / "run", "--set", "schedule.accumulate=2")
    assert finished.returncode == 0, finished.stderr
    assert_same_but_for_rounding(tmp_path / "run", whole)
    # More processes may go on with what fewer began.
    assert train(config, tmp_path / "run", "--resume", "--set", f"schedule.steps={STEPS + 1}") == 0


def test_a_batch_that_cannot_be_shared_equally_is_refused(
    config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(config, tmp_path / "run", "--set", "schedule.accumulate=3") == 2
    expected = "expected a multiple of 1 processes x 3 micro-batches (schedule.accumulate), got 4"
    assert expected in capsys.readouterr().err


def test_the_averaged_weights_are_kept_and_survive_an_interruption(
    config: str, whole: Path, tmp_path: Path
) -> None:
    averaging = ("--set", "schedule.average_decay=0.5")
    assert train(config, tmp_path / "run", *averaging) == 0
    assert train(config, tmp_path / "half", *averaging, "--set", "schedule.steps=2") == 0
    assert train(config, tmp_path / "half", *averaging, "--resume") == 0
    assert losses(tmp_path / "run") == losses(whole)  # averaging changes no step
    kept = load_detector(tmp_path / "run" / "model.pt").state_dict()
    resumed = load_detector(tmp_path / "half" / "model.pt").state_dict()
    last = load_detector(whole / "model.pt").state_dict()
    assert all(torch.equal(value, resumed[name]) for name, value in kept.items())
    assert any(not torch.equal(value, last[name]) for name, value in kept.items())


def test_a_dry_run_says_what_a_run_would_be_and_writes_nothing(
    config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(config, tmp_path / "run", "--dry-run", "--set", "schedule.accumulate=2") == 0
    said = capsys.readouterr().out
    assert "batch: 4 images = 1 processes x 2 micro-batches x 2" in said
    assert 'precision: float32 (precision = "float32")' in said
    assert "learning rate: 0.02 = 0.08 x 4 / 16" in said
    assert "steps: 4, which is 1.6 epochs of 10 images" in said
    assert "parameters are trained" in said
    assert "s a step" in said
    assert not (tmp_path / "run").exists()


def test_a_runs_checkpoints_say_the_data_sets_ids_and_how_they_came_about(whole: Path) -> None:
    for name in ("model.pt", "last.pt"):
        read = read_checkpoint(whole / name)
        assert read.category_ids == (1, 2, 3)
        assert read.recipe == f"rectangles, joint: {STEPS} of {STEPS} steps of 4 images"
