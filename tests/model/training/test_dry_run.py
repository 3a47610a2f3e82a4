from pathlib import Path

import pytest
import torch

from model.training.dry_run import describe
from model.training.precision import precision_for
from model.training.run import Run
from tests.model.small import run_config

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def run(photos: Path, tmp_path: Path) -> Run:
    return Run(
        run_config(photos, 4), tmp_path / "run", "cpu", precision_for("float32", "cpu"), False
    )


def test_it_counts_the_parameters_of_every_part_and_those_that_train(run: Run) -> None:
    run.trainer.detector.rpn.requires_grad_(False)
    lines = dict(line.split(": ", 1) for line in describe(run).splitlines())
    detector = run.trainer.detector
    for name, module in (("proposal head", detector.rpn), ("all", detector)):
        every = sum(p.numel() for p in module.parameters())
        trained = sum(p.numel() for p in module.parameters() if p.requires_grad)
        assert lines[name] == f"{trained:,} of {every:,} parameters are trained"


def test_it_says_the_steps_that_are_left_as_epochs(run: Run) -> None:
    run.done = 1
    assert "steps: 3, which is 1.2 epochs of 10 images" in describe(run)


def test_it_times_steps_and_writes_nothing(run: Run) -> None:
    before = run.trainer.detector.roi.logits.weight.clone()
    assert "hours at" in describe(run)
    assert not torch.equal(before, run.trainer.detector.roi.logits.weight)
    assert not run.folder.exists()
