import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from model.network.checkpoint import load_detector
from model.train import main
from tests.model.small import run_values
from tests.places import ROOT

pytestmark = pytest.mark.usefixtures("one_thread")

PATIENCE_S = 120.0
TIMINGS = {"images_per_s"}


def write_config(root: Path, folder: Path, steps: int, **changes: Any) -> str:
    path = folder / f"run-{steps}.json"
    path.write_text(json.dumps(run_values(root, steps) | changes))
    return str(path)


def train(config: str, out: Path, *options: str) -> int:
    return main([config, "--out", str(out), "--device", "cpu", *options])


def metrics(out: Path) -> list[dict[str, Any]]:
    lines = (out / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k not in TIMINGS} for line in lines]


def refusal(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line on stderr that is left when `main` gives up."""
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("fpn-train")]
    assert len(lines) == 1
    return lines[0]


def test_a_run_leaves_its_model_its_checkpoint_and_its_metrics(
    photos: Path, tmp_path: Path
) -> None:
    config = write_config(photos, tmp_path, 4)  # an epoch is three batches
    assert train(config, tmp_path / "run") == 0
    assert [line["step"] for line in metrics(tmp_path / "run")] == [1, 2, 3, 4]
    detector = load_detector(tmp_path / "run" / "model.pt")
    assert detector.class_names == ("red", "green", "blue")
    last = load_detector(tmp_path / "run" / "last.pt").state_dict()
    assert all(torch.equal(value, last[n]) for n, value in detector.state_dict().items())
    assert list((tmp_path / "run").glob("events*"))


def end_after(config: str, out: Path, step: int, number: signal.Signals) -> int:
    """The exit status of a run that is sent a signal once `step` is recorded."""
    command = [sys.executable, "-m", "model.train", config, "--out", str(out), "--device", "cpu"]
    log, environment = out.with_suffix(".log"), os.environ | {"OMP_NUM_THREADS": "1"}
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=output)
        for _ in range(int(PATIENCE_S / 0.01)):
            try:
                process.wait(0.01)
            except subprocess.TimeoutExpired:
                record = out / "metrics.jsonl"
                if not (record.exists() and record.read_bytes().count(b"\n") >= step):
                    continue
            break
        process.send_signal(number)
        return process.wait()


def test_a_killed_run_goes_on_with_the_losses_that_it_would_have_had(
    photos: Path, tmp_path: Path
) -> None:
    steps = 26
    config = write_config(photos, tmp_path, steps, checkpoint_every=4)
    assert train(config, tmp_path / "whole") == 0
    # Behind the first checkpoint.
    assert end_after(config, tmp_path / "killed", 6, signal.SIGKILL) == -signal.SIGKILL
    assert (tmp_path / "killed" / "last.pt").exists()
    assert not (tmp_path / "killed" / "model.pt").exists()
    assert train(config, tmp_path / "killed", "--resume") == 0
    whole, resumed = metrics(tmp_path / "whole"), metrics(tmp_path / "killed")
    assert [line["step"] for line in resumed] == list(range(1, steps + 1))
    assert resumed == whole
    ours = load_detector(tmp_path / "killed" / "model.pt").state_dict()
    theirs = load_detector(tmp_path / "whole" / "model.pt").state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())


@pytest.fixture(scope="module")
def finished(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """The configuration and the folder of a run of two steps."""
    folder = tmp_path_factory.mktemp("finished")
    config = write_config(photos, folder, 2)
    assert train(config, folder / "run") == 0
    return config, folder / "run"


def test_a_run_is_not_started_over_another(
    finished: tuple[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    config, out = finished
    before = (out / "metrics.jsonl").read_bytes()
    assert train(config, out) == 2
    assert "last.pt exists: pass --resume" in refusal(capsys)
    assert (out / "metrics.jsonl").read_bytes() == before


def test_a_run_does_not_go_on_under_another_configuration(
    finished: tuple[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    config, out = finished
    before = (out / "metrics.jsonl").read_bytes()
    changes = ("--set", "schedule.momentum=0.5", "--set", "model.rpn.nms_iou=0.6")
    assert train(config, out, "--resume", *changes) == 2
    message = refusal(capsys)
    assert "model.rpn.nms_iou was 0.7, is 0.6; schedule.momentum was 0.9, is 0.5" in message
    assert (out / "metrics.jsonl").read_bytes() == before


def test_what_changes_no_loss_may_change_when_a_run_goes_on(finished: tuple[str, Path]) -> None:
    config, out = finished
    assert train(config, out, "--resume", "--set", "checkpoint_every=1", "--set", "name=b") == 0


def test_a_run_does_not_go_on_with_another_network_and_says_which_setting(
    finished: tuple[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    config, out = finished
    assert train(config, out, "--resume", "--set", "model.pyramid.channels=24") == 2
    assert "model.pyramid.channels was" in refusal(capsys)


def test_a_finished_run_can_be_made_longer(finished: tuple[str, Path], tmp_path: Path) -> None:
    config, out = finished
    shutil.copytree(out, tmp_path / "longer")
    assert train(config, tmp_path / "longer", "--resume", "--set", "schedule.steps=3") == 0
    assert [line["step"] for line in metrics(tmp_path / "longer")] == [1, 2, 3]


def test_a_run_does_not_go_on_with_other_data(
    finished: tuple[str, Path], photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, out = finished
    shutil.copytree(photos, tmp_path / "other")
    document = json.loads((photos / "train.json").read_text())
    document["annotations"][0]["bbox"][0] += 1
    (tmp_path / "other" / "train.json").write_text(json.dumps(document))
    assert train(config, out, "--resume", "--set", f"data.root={tmp_path / 'other'}") == 2
    assert "begun with other training data" in refusal(capsys)


def test_a_damaged_picture_does_not_end_a_run(photos: Path, tmp_path: Path) -> None:
    root = tmp_path / "photos"
    shutil.copytree(photos, root)
    damaged = root / "003.png"
    damaged.write_bytes(damaged.read_bytes()[:3000])
    assert train(write_config(root, tmp_path, 4), tmp_path / "run") == 0
    assert len(metrics(tmp_path / "run")) == 4


def test_a_checkpoint_holds_no_path_of_the_machine_that_trained_it(
    finished: tuple[str, Path], photos: Path
) -> None:
    _, out = finished
    assert str(photos).encode() not in (out / "model.pt").read_bytes()


def test_there_must_be_something_to_resume(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(write_config(photos, tmp_path, 2), tmp_path / "run", "--resume") == 2
    assert "no checkpoint to resume from" in refusal(capsys)


def test_evaluations_stand_beside_the_losses(photos: Path, tmp_path: Path) -> None:
    data = run_values(photos, 4)["data"] | {"val_annotations": "train.json", "val_images": "."}
    config = write_config(photos, tmp_path, 4, data=data, eval_every=3)
    assert train(config, tmp_path / "run") == 0
    lines = metrics(tmp_path / "run")
    assert [line["step"] for line in lines] == [1, 2, 3, 3, 4, 4]
    evaluations = [line for line in lines if "loss" not in line]
    assert [line["step"] for line in evaluations] == [3, 4]
    assert all(0 <= line["AP50"] <= 1 and "AP/red" in line for line in evaluations)


def test_an_evaluation_changes_no_later_loss(photos: Path, tmp_path: Path) -> None:
    data = run_values(photos, 3)["data"] | {"val_annotations": "train.json", "val_images": "."}
    for name, every in (("often", 1), ("never", 0)):
        config = write_config(photos, tmp_path, 2, data=data, eval_every=every)
        assert train(config, tmp_path / name) == 0
    losses = [
        [line for line in metrics(tmp_path / name) if "loss" in line] for name in ("often", "never")
    ]
    assert losses[0] == losses[1]


def test_a_validation_set_of_other_classes_is_refused(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = json.loads((photos / "train.json").read_text())
    for category in document["categories"]:
        category["name"] += "dish"
    (tmp_path / "val.json").write_text(json.dumps(document))
    data = run_values(photos, 2)["data"]
    data |= {"val_annotations": str(tmp_path / "val.json"), "val_images": "."}
    assert train(write_config(photos, tmp_path, 2, data=data), tmp_path / "run") == 2
    assert "got 3: reddish, greendish, bluedish" in refusal(capsys)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--set", "schedule.stepz=1"), "unknown key schedule.stepz"),
        (("--set", "data.train_annotations=absent.json"), "absent.json: cannot be read"),
        (("--set", "model.backbone.weights=absent.pth"), "absent.pth"),
    ],
)
def test_a_run_that_cannot_start_ends_with_status_2_and_one_line(
    photos: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: tuple[str, ...],
    reason: str,
) -> None:
    assert train(write_config(photos, tmp_path, 2), tmp_path / "run", *options) == 2
    assert reason in refusal(capsys)
    assert not (tmp_path / "run").exists()


def test_a_run_that_diverges_ends_with_status_2_and_what_to_do(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    schedule = run_values(photos, 40)["schedule"] | {"learning_rate": 1e12, "clip_norm": 0.0}
    config = write_config(photos, tmp_path, 40, schedule=schedule | {"warmup_steps": 0})
    assert train(config, tmp_path / "run") == 2
    assert "Lower schedule.learning_rate" in refusal(capsys)
