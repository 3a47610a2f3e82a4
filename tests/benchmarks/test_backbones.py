import json
from pathlib import Path

import pytest

from benchmarks.backbones import main
from tests.model.small import coloured_rectangles, run_values


def test_a_backbone_has_a_row_of_what_it_scored_and_took(tmp_path: Path) -> None:
    coloured_rectangles(tmp_path, 8)
    values = run_values(tmp_path, 2)
    values["data"] |= {"val_annotations": "train.json", "val_images": "."}
    (tmp_path / "run.json").write_text(json.dumps(values))
    given = [f"rectangles={tmp_path / 'run.json'}", "--seeds", "0", "--threads", "1"]
    given += ["--backbones", "resnet18=none", "--runs", str(tmp_path / "runs")]
    assert main([*given, "--markdown", str(tmp_path / "table.md")]) == 0
    [row] = (tmp_path / "table.md").read_text().splitlines()[4:]
    cells = row.strip("| ").split(" | ")
    assert cells[:2] == ["rectangles", "resnet18"]
    assert all(float(cell) > 0 for cell in cells[4:])


def test_what_is_no_pair_and_a_run_that_is_not_scored_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["bccd", "--backbones", "resnet18=none"])
    assert "expected NAME=FILE" in capsys.readouterr().err
    coloured_rectangles(tmp_path, 2)
    (tmp_path / "run.json").write_text(json.dumps(run_values(tmp_path, 2)))
    given = [f"a={tmp_path / 'run.json'}", "--runs", str(tmp_path / "runs")]
    assert main([*given, "--backbones", "resnet18=none"]) == 2
    assert "expected val_annotations" in capsys.readouterr().err
