"""The study on coloured rectangles: two rows, of which one builds on the other."""

import json
from pathlib import Path

import pytest

from model.study.__main__ import main
from model.study.page import markers, write_page
from model.study.rows import ROWS
from tests.model.small import coloured_rectangles

pytestmark = pytest.mark.usefixtures("one_thread")

SETTINGS = {
    "data.train_annotations": '"train.json"',
    "data.train_images": '"."',
    "data.val_annotations": '"train.json"',
    "data.val_images": '"."',
    "model.resize": "{short_side = 64, max_side = 96}",
    "model.backbone.name": '"resnet18"',
    "model.pyramid.channels": "8",
    "model.roi.fc_channels": "16",
    "schedule.batch_size": "4",
    "schedule.warmup_factor": "1e-6",
    "precision": '"float32"',
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    coloured_rectangles(tmp_path, 6)
    return tmp_path


def study(root: Path, *options: str, steps: int = 2) -> int:
    settings = [f"--set={key}={value}" for key, value in SETTINGS.items()]
    settings += [f"--set=schedule.steps={steps}", "--set=schedule.decay_steps=[]"]
    settings += ["--set=schedule.warmup_steps=0"]
    folders = ["--runs", str(root / "runs"), "--results", str(root / "study")]
    page = ["--page", str(root / "results.md")]
    where = ["--data", str(root), "--weights", "none", "--device", "cpu"]
    return main([*where, *folders, *page, *settings, *options])


def result(root: Path, key: str) -> dict[str, object]:
    values: dict[str, object] = json.loads((root / "study" / f"{key}.json").read_text())
    return values


def test_a_row_runs_what_it_builds_on_and_is_not_run_twice(root: Path) -> None:
    assert study(root, "--only", "table2c-s0") == 0
    first, second = result(root, "table1c-s0"), result(root, "table2c-s0")
    assert (first["row"], first["seed"], first["steps"]) == ("table1c", 0, 2)
    assert first["metrics"].keys() >= {"AR100", "AR1k", "ARs", "ARm"}  # type: ignore[attr-defined]
    assert second["metrics"].keys() >= {"AP", "AP50"}  # type: ignore[attr-defined]
    assert study(root, "--only", "table2c-s0") == 0
    assert result(root, "table2c-s0") == second  # its seconds too
    page = (root / "results.md").read_text()
    assert "| c pyramid | 1 |" in page
    assert "(44.0)" in page


def test_what_a_row_hands_on_is_made_again_on_another_machine(root: Path) -> None:
    assert study(root, "--only", "table1c-s0") == 0
    (root / "runs").rename(root / "gone")
    assert study(root, "--only", "table1c-s0") == 0
    assert not (root / "runs").exists()  # its figures are known
    assert study(root, "--only", "table2c-s0") == 0
    assert (root / "runs" / "table1c-s0" / "train.npz").exists()


def test_a_row_is_done_again_when_its_configuration_changes(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert study(root, "--only", "table1c-s0") == 0
    assert study(root, "--only", "table1c-s0", "--list", steps=3) == 0
    assert "to do" in capsys.readouterr().out
    assert study(root, "--only", "table1c-s0", steps=3) == 2
    assert "another configuration" in capsys.readouterr().err


def test_rows_come_after_those_that_they_build_on() -> None:
    keys = [row.key for row in ROWS]
    assert len(set(keys)) == len(keys)
    assert keys[0] == "table1c-s0"
    for place, row in enumerate(ROWS):
        assert set(row.builds_on()) <= set(keys[:place])


def test_what_stands_outside_of_the_studys_part_of_a_page_stays(tmp_path: Path) -> None:
    page, results = tmp_path / "results.md", tmp_path / "study"
    results.mkdir()
    begin, end = markers("fish")
    page.write_text(f"# Mine\n\n{begin}\nold\n{end}\n\nafter\n")
    for seed, value in enumerate((0.25, 0.35)):
        values = {"row": "table1a", "metrics": {"AR100": value}}
        (results / f"table1a-s{seed}.json").write_text(json.dumps(values))
    write_page(results, page, "fish")
    write_page(results, page, "fish")
    text = page.read_text()
    assert text.startswith("# Mine\n")
    assert text.endswith("\n\nafter\n")
    assert "old" not in text
    assert text.count("### Table 1") == 1
    write_page(results, page, "birds")
    assert page.read_text().startswith(text.rstrip())
    assert page.read_text().count("## Ablations on ") == 2
    assert "30.0 ± 7.1 (36.1)" in text
    assert "](study/table1.png)" in text


def test_an_unknown_row_is_refused_naming_those_that_there_are(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert study(root, "--only", "table9z-s0") == 2
    assert "table1c-s0" in capsys.readouterr().err
