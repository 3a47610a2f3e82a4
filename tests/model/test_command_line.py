import argparse
import os
import signal
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from model.command_line import (
    add_device,
    duration,
    exit_status,
    output_file,
    output_folder,
    positive,
    write_output,
)
from model.errors import Refused, Stopped


class Unreadable(Dataset[int]):
    """A data set whose only item is refused."""

    def __getitem__(self, index: int) -> int:
        raise Refused(f"item {index}: expected a number, got none")

    def __len__(self) -> int:
        return 1


def ended(work: object, *, interrupted: str = "interrupted") -> int:
    """The status of a command without options that does what `work`, an exception or a status, says."""

    def do(_: argparse.Namespace) -> int | None:
        if isinstance(work, BaseException):
            raise work
        assert work is None or isinstance(work, int)
        return work

    return exit_status(argparse.ArgumentParser(prog="fpn-do"), [], do, interrupted=interrupted)


class Killed(Dataset[int]):
    """A data set whose loading process is killed, as a system without memory does it."""

    def __getitem__(self, index: int) -> int:
        os.kill(os.getpid(), signal.SIGKILL)
        return index

    def __len__(self) -> int:
        return 1


@pytest.fixture
def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="fpn-do")
    parser.add_argument("--count", type=positive)
    add_device(parser)
    return parser


@pytest.mark.parametrize(("work", "status"), [(None, 0), (0, 0), (1, 1)])
def test_work_that_comes_to_its_end_decides_the_status(work: int | None, status: int) -> None:
    assert ended(work) == status


@pytest.mark.parametrize("error", [Refused("expected a, got b"), OSError("expected a, got b")])
def test_what_is_refused_is_one_line_and_status_2(
    capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    assert ended(error) == 2
    assert capsys.readouterr().err == "fpn-do: expected a, got b\n"


def test_an_interruption_is_one_line_and_status_130(capsys: pytest.CaptureFixture[str]) -> None:
    assert ended(KeyboardInterrupt(), interrupted="go on with --resume") == 130
    assert capsys.readouterr().err == "fpn-do: go on with --resume\n"


def test_a_fault_of_our_own_is_not_taken_for_bad_input() -> None:
    with pytest.raises(ValueError, match="ours"):
        ended(ValueError("ours"))


def test_what_a_loading_process_refuses_is_told_without_its_traceback(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def load(_: argparse.Namespace) -> None:
        list(DataLoader(Unreadable(), batch_size=None, num_workers=1))

    assert exit_status(argparse.ArgumentParser(prog="fpn-do"), [], load) == 2
    assert capsys.readouterr().err == "fpn-do: item 0: expected a number, got none\n"


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--count=0", "expected a whole number, 1 or more, got '0'"),
        ("--count=two", "expected a whole number, 1 or more, got 'two'"),
        ("--device=tpu", "expected cpu or cuda, got 'tpu'"),
    ],
)
def test_an_argument_that_cannot_be_is_refused_with_what_was_expected(
    parser: argparse.ArgumentParser,
    capsys: pytest.CaptureFixture[str],
    argument: str,
    message: str,
) -> None:
    with pytest.raises(SystemExit) as caught:
        parser.parse_args([argument])
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there_is_refused(
    parser: argparse.ArgumentParser, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parser.parse_args(["--device=cuda"])
    assert "torch finds no CUDA device here; use cpu" in capsys.readouterr().err
    assert parser.parse_args([]).device == "cpu"


def test_a_loading_process_that_is_killed_costs_one_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def work(_: argparse.Namespace) -> None:
        list(DataLoader(Killed(), num_workers=1))

    assert exit_status(argparse.ArgumentParser(prog="fpn-do"), [], work) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("fpn-do: a process that decodes images was ended")


@pytest.mark.parametrize("error", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory")])
def test_a_machine_without_memory_costs_one_line(
    error: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended(error) == 2
    assert capsys.readouterr().err.startswith("fpn-do: out of memory: ")


def test_errors_of_ours_keep_their_traceback() -> None:
    with pytest.raises(RuntimeError, match="shapes"):
        ended(RuntimeError("shapes do not fit"))


def test_a_signal_decides_the_status_and_says_what_was_saved(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert ended(Stopped(signal.SIGTERM, "saved")) == 143
    assert capsys.readouterr().err == "fpn-do: saved\n"


@pytest.mark.parametrize("path", ["taken/a.json", "/proc/a.json", "."])
def test_a_file_that_cannot_be_written_is_refused_before_the_work(
    tmp_path: Path, path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "taken").touch()
    parser = argparse.ArgumentParser(prog="fpn-do")
    parser.add_argument("--json", type=output_file)
    with pytest.raises(SystemExit, match="2"):
        parser.parse_args(["--json", str(tmp_path / path)])
    assert "argument --json: " in capsys.readouterr().err


def test_folders_that_are_not_there_yet_can_be_written(tmp_path: Path) -> None:
    assert output_file(str(tmp_path / "a" / "b.json")) == tmp_path / "a" / "b.json"
    assert output_folder(str(tmp_path / "a" / "b")) == tmp_path / "a" / "b"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "seconds"), [("2h", 7200), ("90m", 5400), ("1h30m", 5400), ("45s", 45)]
)
def test_a_time_is_given_with_its_units(text: str, seconds: float) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "2", "h", "2d", "0m", "-1h"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="expected a time such as 2h"):
        duration(text)


def test_a_file_that_was_taken_is_written_with_its_folder(tmp_path: Path) -> None:
    path = output_file(str(tmp_path / "runs" / "new" / "race.json"))
    assert not path.parent.exists()
    write_output(path, "{}")
    assert path.read_text() == "{}"
