import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from model.config.detector import (
    BackboneConfig,
    DetectorConfig,
    PyramidConfig,
    RoiConfig,
    RpnConfig,
)
from model.config.resize import ResizeRule
from model.evaluate import main
from model.network.checkpoint import save_checkpoint
from model.network.detector import Detector
from tests.model.colours import LEVEL_NAMES
from tests.model.conftest import CocoFolder


def tiny_checkpoint(path: Path, class_names: tuple[str, ...] = ("red", "green")) -> Path:
    config = DetectorConfig(
        resize=ResizeRule(short_side=64, max_side=128),
        backbone=BackboneConfig(name="resnet18", weights="none"),
        pyramid=PyramidConfig(channels=8),
        rpn=RpnConfig(pre_nms_test=50, post_nms_test=50),
        roi=RoiConfig(fc_channels=8, score_threshold=0.0),
    )
    torch.manual_seed(0)
    save_checkpoint(path, Detector(config, class_names))
    return path


def arguments(folder: CocoFolder, checkpoint: Path, *more: str) -> list[str]:
    where = ["--images", str(folder.root), "--annotations", str(folder.json)]
    return [str(checkpoint), *where, "--device", "cpu", *more]


def test_the_command_prints_a_table_and_writes_json(
    coloured: CocoFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    coloured.read()
    out = tmp_path / "figures.json"
    checkpoint = tiny_checkpoint(tmp_path / "model.pt")
    assert main(arguments(coloured, checkpoint, "--batch-size", "3", "--json", str(out))) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("7 images (1 without boxes), 8 boxes, 0 crowd boxes")
    assert all(word in printed for word in ("AP50", "APl", "red", "green"))
    figures: dict[str, Any] = json.loads(out.read_text())
    assert math.isfinite(figures["AP50"])
    assert figures["classes"]["green"]["boxes"] == 4
    assert figures["thresholds"] is None or set(figures["thresholds"]["classes"]) == {
        "red",
        "green",
    }
    assert figures["reference"]["images"] == 7


def test_the_command_scores_proposals_when_asked(
    coloured: CocoFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    coloured.read()
    out = tmp_path / "figures.json"
    checkpoint = tiny_checkpoint(tmp_path / "model.pt")
    assert main(arguments(coloured, checkpoint, "--proposals", "--json", str(out))) == 0
    printed = capsys.readouterr().out.splitlines()
    (head,) = (n for n, line in enumerate(printed) if line.startswith("proposals "))
    assert [line.split()[0] for line in printed[head + 1 :]] == ["all", *LEVEL_NAMES]
    proposals = json.loads(out.read_text())["proposals"]
    per_image = [proposals[name]["per_image"] for name in LEVEL_NAMES]
    assert proposals["all"]["per_image"] == pytest.approx(sum(per_image))
    assert 10 < sum(per_image) <= 50


def test_the_command_evaluates_with_other_settings_of_the_test(
    coloured: CocoFolder, tmp_path: Path
) -> None:
    coloured.read()
    out = tmp_path / "figures.json"
    checkpoint = tiny_checkpoint(tmp_path / "model.pt")
    more = ["--set", "rpn.post_nms_test=3", "--proposals", "--json", str(out)]
    assert main(arguments(coloured, checkpoint, *more)) == 0
    assert 0 < json.loads(out.read_text())["proposals"]["all"]["per_image"] <= 3


def test_a_setting_that_training_decided_costs_one_line(
    coloured: CocoFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    coloured.read()
    checkpoint = tiny_checkpoint(tmp_path / "model.pt")
    assert main(arguments(coloured, checkpoint, "--set", "pyramid.channels=8")) == 2
    message = capsys.readouterr().err
    assert message.startswith("fpn-eval: --set pyramid.channels=8: expected one of ")
    assert message.count("\n") == 1


def test_the_command_merges_scales_and_writes_a_report(
    coloured: CocoFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    coloured.read()
    out, report = tmp_path / "figures.json", tmp_path / "new" / "report"
    checkpoint = tiny_checkpoint(tmp_path / "model.pt")
    more = ["--scales", "96,32", "--json", str(out), "--report", str(report)]
    assert main(arguments(coloured, checkpoint, *more)) == 0
    printed = capsys.readouterr().out
    assert all(f"\n{name} " in printed for name in ("scale", "32", "64", "96", "32 + 96"))
    figures = json.loads(out.read_text())
    assert figures["scales"]["32 + 96"]["AP"] == figures["AP"]
    assert figures["scales"]["96"]["seconds_per_image"] > 0
    assert (report / "report.md").is_file()


@pytest.mark.parametrize("scales", ["320", "320,320", "320,", "320,-1", "small,large"])
def test_scales_that_are_not_several_numbers_are_refused(
    coloured: CocoFolder, scales: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(arguments(coloured, coloured.root / "model.pt", "--scales", scales))
    assert "--scales" in capsys.readouterr().err


def test_a_report_that_cannot_be_written_is_refused_before_anything_is_measured(
    coloured: CocoFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    coloured.read()
    checkpoint = coloured.root / "none.pt"  # would be refused next
    with pytest.raises(SystemExit, match="2"):
        main(arguments(coloured, checkpoint, "--report", str(coloured.json)))
    assert f"{coloured.json}' cannot be written" in capsys.readouterr().err


def failure(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line of standard error; a progress bar redraws its own with carriage returns."""
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_a_checkpoint_that_is_missing_costs_one_line(
    coloured: CocoFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    coloured.read()
    assert main(arguments(coloured, coloured.root / "none.pt")) == 2
    assert failure(capsys).startswith(f"fpn-eval: {coloured.root / 'none.pt'}: ")


def test_annotations_that_are_missing_cost_one_line(
    folder: CocoFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments(folder, tiny_checkpoint(folder.root / "model.pt"))) == 2
    assert failure(capsys).endswith("instances.json: cannot be read: No such file or directory")


def test_classes_that_differ_cost_one_line(
    coloured: CocoFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    coloured.read()
    checkpoint = tiny_checkpoint(coloured.root / "model.pt", class_names=("left", "right"))
    assert main(arguments(coloured, checkpoint)) == 2
    assert "the detector has 2: left, right" in failure(capsys)


@pytest.mark.parametrize("size", ["0", "-2", "many"])
def test_a_batch_size_that_is_no_positive_number_is_refused(
    coloured: CocoFolder, size: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(arguments(coloured, coloured.root / "model.pt", "--batch-size", size))
    assert "--batch-size" in capsys.readouterr().err
