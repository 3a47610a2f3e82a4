from pathlib import Path

import pytest

from benchmarks.server.__main__ import main
from benchmarks.server.photographs import photographs
from benchmarks.server.results import Results
from model.errors import Refused


def test_a_race_without_peers_has_our_row_and_theirs(
    artifact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "results.json"
    words = ["--quick", "--models", str(artifact), "--servers", "ours", "LitServe", "the bare"]
    assert main([*words, "--peers", "/no/such/python", "--results", str(file)]) == 0
    results, text = Results.read(file), capsys.readouterr().out
    cells = [each.cell for each in results.records if each.server == "ours"]
    assert cells == ["alone", "crowd", "50 %", "80 %", "95 %", "memory"]
    assert "LitServe, as documented: not installed" in text
    assert "| the bare engine with decoding |" in text


def test_results_are_printed_without_a_race(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "results.json"
    Results(conditions={"on": "a small CPU"}).write(file)
    assert main(["--rounds", "0", "--results", str(file)]) == 0
    assert capsys.readouterr().out == "on a small CPU\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["--servers", "torchserve"],
            "--servers torchserve: expected the beginning of one of ours",
        ),
        (["--ours", "ours, small", "FPN_THREADS"], "expected VARIABLE=VALUE"),
        (["--models", "none.onnx"], "none.onnx: no such file"),
    ],
)
def test_what_cannot_be_used_costs_one_line(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_photographs_are_spread_over_the_folder(tmp_path: Path) -> None:
    for number in range(100):
        (tmp_path / f"{number:03}.jpg").write_bytes(b"%d" % number)
    taken = [int(each) for each in photographs(tmp_path)]
    assert len(taken) == 48
    assert taken[-1] > 90


def test_a_folder_without_jpegs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="found none"):
        photographs(tmp_path)


def test_photographs_that_come_along_have_many_sizes() -> None:
    assert len({len(each) for each in photographs(None)}) == 24
