"""The stages composed: the 4-step schedule of feature sharing, on coloured rectangles."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from export.__main__ import main as export
from model.evaluate import main as evaluate
from model.network.checkpoint import load_detector
from model.propose import main as propose
from model.train import main as train
from tests.model.small import coloured_rectangles, run_values

pytestmark = pytest.mark.usefixtures("one_thread")

STEPS = 3
SHARED = ("backbone.", "fpn.")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rectangles, and runs/1 .. runs/4, each the outcome of one step of the schedule."""
    root = tmp_path_factory.mktemp("rectangles")
    coloured_rectangles(root, 8)
    values = run_values(root, STEPS)
    values["data"] |= {"val_annotations": "train.json", "val_images": "."}
    (root / "run.json").write_text(json.dumps(values))
    assert stage(root, "1", "--stage", "rpn") == 0
    write_proposals(root, "1")
    assert stage(root, "2", "--stage", "fast", *given(root, "1")) == 0
    shared = ["--freeze", "backbone,pyramid"]
    second, third = (str(root / number / "model.pt") for number in ("2", "3"))
    assert stage(root, "3", "--stage", "rpn", "--init", second, *shared) == 0
    write_proposals(root, "3")
    fourth = ["--stage", "fast", "--init", third, *shared, *given(root, "3")]
    assert stage(root, "4", *fourth) == 0
    return root


def stage(root: Path, name: str, *options: str) -> int:
    out = str(root / name)
    return train([str(root / "run.json"), "--out", out, "--device", "cpu", *options])


def write_proposals(root: Path, name: str) -> None:
    source, out = str(root / name / "model.pt"), str(root / name / "proposals.npz")
    assert propose([source, *pictures(root), "--out", out, "--device", "cpu"]) == 0


def pictures(root: Path) -> list[str]:
    return ["--images", str(root), "--annotations", str(root / "train.json")]


def given(root: Path, name: str) -> list[str]:
    path = json.dumps(str(root / name / "proposals.npz"))
    return [f"--set=data.{split}_proposals={path}" for split in ("train", "val")]


def changed(root: Path, before: str, after: str) -> set[str]:
    """The parts of which any tensor is not the same in two runs' models."""
    one, other = (load_detector(root / n / "model.pt").state_dict() for n in (before, after))
    return {name.split(".")[0] for name in one if not torch.equal(one[name], other[name])}


def lines(root: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (root / name / "metrics.jsonl").read_text().splitlines()]


def test_a_stage_minimises_its_own_losses_and_is_scored_by_its_own_measure(root: Path) -> None:
    proposing, detecting = lines(root, "1"), lines(root, "2")
    assert {"objectness", "proposal_box"} <= proposing[0].keys()
    assert not {"classification", "box"} & proposing[0].keys()
    assert {"classification", "box"} <= detecting[0].keys()
    assert not {"objectness", "proposal_box"} & detecting[0].keys()
    assert {"AR100", "AR1k", "ARs"} <= proposing[-1].keys()
    assert {"AP", "AP50"} <= detecting[-1].keys()


def test_each_step_of_the_schedule_trains_what_it_must_and_nothing_else(root: Path) -> None:
    assert changed(root, "2", "3") == {"rpn"}
    assert changed(root, "3", "4") == {"roi"}
    assert {"backbone", "fpn"} <= changed(root, "1", "2")


def test_a_checkpoint_knows_what_no_stage_has_trained(root: Path) -> None:
    untrained = [load_detector(root / n / "model.pt").untrained for n in "1234"]
    assert untrained == [{"roi"}, {"rpn"}, set(), set()]


def test_one_stage_alone_is_neither_evaluated_nor_exported_as_a_detector(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = str(root / "1" / "model.pt")
    assert evaluate([checkpoint, *pictures(root), "--device", "cpu"]) == 2
    assert "'roi'" in capsys.readouterr().err
    assert export([checkpoint, "--out", str(root / "1" / "model.onnx")]) == 2
    assert "roi is not" in capsys.readouterr().err
    second = str(root / "2" / "model.pt")
    assert propose([second, *pictures(root), "--out", str(root / "x.npz"), "--device=cpu"]) == 2
    assert "'rpn'" in capsys.readouterr().err


def test_the_shared_detector_is_whole(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "accuracy.json"
    checkpoint = str(root / "4" / "model.pt")
    assert evaluate([checkpoint, *pictures(root), "--json", str(out), "--device", "cpu"]) == 0
    assert "AP" in json.loads(out.read_text())


def test_a_stage_resumes_to_the_same_weights(root: Path, tmp_path: Path) -> None:
    options = ["--stage", "fast", *given(root, "1")]
    assert stage(root, f"{tmp_path.name}/half", *options, "--set=schedule.steps=2") == 0
    assert stage(root, f"{tmp_path.name}/half", *options, "--resume") == 0
    assert changed(root, "2", f"{tmp_path.name}/half") == set()


def test_a_resumed_stage_must_have_the_same_proposals(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert stage(root, "2", "--stage", "fast", *given(root, "3"), "--resume") == 2
    assert "proposals are not the same" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--stage", "fast"], "data.train_proposals with stage 'fast'"),
        (["--freeze", "pyramid"], "needs init"),
        (["--freeze", "neck"], "freeze"),
        (["--init", "nowhere.pt"], "nowhere.pt"),
    ],
)
def test_a_stage_without_what_it_needs_is_refused_in_one_line(
    root: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    capsys.readouterr()
    assert stage(root, "refused", *options) == 2
    errors = [e for e in capsys.readouterr().err.splitlines() if e.startswith("fpn-train")]
    assert len(errors) == 1
    assert message in errors[0]


def test_parts_that_do_not_fit_are_left_and_none_is_refused(
    root: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    init = ["--init", str(root / "4" / "model.pt"), "--set=schedule.steps=2"]
    with caplog.at_level("INFO"):
        assert stage(root, "wider", *init, "--set=model.roi.fc_channels=40") == 0
    assert "backbone, pyramid, rpn; not ['roi']" in caplog.text
    other = ["--set=model.backbone.name=mobilenet_v2", "--set=model.pyramid.channels=24"]
    assert stage(root, "other", *init, *other, "--set=model.roi.fc_channels=40") == 2
    assert "none of" in capsys.readouterr().err
