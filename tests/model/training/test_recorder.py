import json
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import (  # type: ignore[import-untyped]
    EventAccumulator,
)

from model.training.recorder import Recorder


def lines(folder: Path) -> list[dict[str, Any]]:
    text = (folder / "metrics.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def record(folder: Path, steps: range, total: int = 9) -> None:
    with Recorder(folder, steps.start - 1, total) as recorder:
        for step in steps:
            recorder.step(step, {"loss": step / 2}, 12.5)


def test_every_step_is_a_line(tmp_path: Path) -> None:
    record(tmp_path / "run", range(1, 4))
    assert lines(tmp_path / "run") == [
        {"step": step, "loss": step / 2, "images_per_s": 12.5} for step in (1, 2, 3)
    ]


def test_a_line_can_be_read_as_soon_as_it_is_recorded(tmp_path: Path) -> None:
    with Recorder(tmp_path, 0, 9) as recorder:
        recorder.step(1, {"loss": 0.5}, 1.0)
        assert len(lines(tmp_path)) == 1


def test_a_resumed_run_drops_what_came_after_its_checkpoint(tmp_path: Path) -> None:
    record(tmp_path, range(1, 7))
    record(tmp_path, range(4, 6))
    assert [line["step"] for line in lines(tmp_path)] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("rest", ['{"step": 4, "lo', "{", '{"step": 4, "loss": 1.0}'])
def test_the_line_that_a_killed_run_was_writing_does_no_harm(tmp_path: Path, rest: str) -> None:
    record(tmp_path, range(1, 4))
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write(rest)
    record(tmp_path, range(5, 6))
    assert [line["step"] for line in lines(tmp_path) if line["step"] != 4] == [1, 2, 3, 5]


def test_a_run_that_starts_anew_drops_all(tmp_path: Path) -> None:
    record(tmp_path, range(1, 4))
    record(tmp_path, range(1, 2))
    assert [line["step"] for line in lines(tmp_path)] == [1]


def test_tensorboard_shows_each_step_once(tmp_path: Path) -> None:
    record(tmp_path, range(1, 7))
    record(tmp_path, range(4, 6))
    events = EventAccumulator(str(tmp_path), purge_orphaned_data=True).Reload()
    assert [event.step for event in events.Scalars("loss")] == [1, 2, 3, 4, 5]
    assert [event.value for event in events.Scalars("loss")] == [0.5, 1, 1.5, 2, 2.5]


def test_the_progress_line_says_speed_and_losses(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Recorder(tmp_path, 2, 9) as recorder:
        recorder.step(3, {"loss": 0.25}, 12.5)
        recorder.say("a table")
    captured = capsys.readouterr()
    assert "12.50 images/s loss 0.25" in captured.err
    assert "3/9" in captured.err
    assert "a table" in captured.out + captured.err
