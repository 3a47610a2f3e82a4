import json
import math
from pathlib import Path

import pytest

from benchmarks.server.contenders import OURS
from benchmarks.server.results import Record, Results
from benchmarks.server.summary import closed_table, open_table, report

PEER = "mosec, tuned for latency"


def raced(value: str, cell: str, **rounds: list[float]) -> Results:
    """Results of `ours` and `peer`, one value a round; a missing one is not a number."""
    names = {"ours": OURS, "peer": PEER}
    return Results(
        records=[
            Record("m.onnx", names[name], number, cell, {value: each})
            for name, values in rounds.items()
            for number, each in enumerate(values, start=1)
            if not math.isnan(each)
        ]
    )


def test_a_ratio_is_the_median_of_those_within_a_round() -> None:
    results = raced("p50_s", "alone", ours=[1.0, 2.0, 4.0], peer=[2.0, 3.0, 4.0])
    assert results.ratio("m.onnx", PEER, OURS, "alone", "p50_s") == 1.5


def test_rounds_that_one_missed_have_no_ratio() -> None:
    results = raced("p50_s", "alone", ours=[1.0, math.nan], peer=[math.nan, 3.0])
    assert results.ratio("m.onnx", PEER, OURS, "alone", "p50_s") is None
    assert results.middle("m.onnx", PEER, "alone", "p50_s") == 3.0


@pytest.mark.parametrize("nothing", [0.0, math.inf])
def test_where_ours_did_nothing_there_is_no_ratio(nothing: float) -> None:
    results = raced("images_per_s", "crowd", ours=[nothing, 2.0], peer=[1.0, 3.0])
    assert results.ratio("m.onnx", PEER, OURS, "crowd", "images_per_s") == 1.5


def test_later_runs_add_their_rounds(tmp_path: Path) -> None:
    results = raced("p99_s", "80 %", ours=[1.0, 2.0], peer=[math.inf])
    results.peaks["m.onnx"] = 40.0
    results.failures["m.onnx"] = {"LitServe": "not installed"}
    results.write(tmp_path / "results.json")
    assert Results.read(tmp_path / "results.json") == results
    assert results.next_round("m.onnx") == 3
    assert Results.read(tmp_path / "none.json").next_round("m.onnx") == 1


def test_what_took_for_ever_is_null_in_the_file(tmp_path: Path) -> None:
    raced("p99_s", "80 %", ours=[math.inf]).write(tmp_path / "results.json")
    assert json.loads((tmp_path / "results.json").read_text())["records"][0]["values"] == {
        "p99_s": None
    }


def test_tables_show_medians_and_ratios_to_ours() -> None:
    results = raced("p50_s", "alone", ours=[0.020, 0.030, 0.025], peer=[0.030, 0.045, 0.0375])
    text = closed_table(results, "m.onnx")
    assert f"| {OURS} | 25 |" in text
    assert f"| {PEER} | 38 (1.50) |" in text


def test_a_late_answer_has_no_end_in_a_table() -> None:
    results = raced("p99_s", "crowd", ours=[1.0], peer=[math.inf])
    assert "| ∞ (∞) |" in closed_table(results, "m.onnx")


def test_rates_are_parts_of_the_peak_and_failures_of_what_was_sent() -> None:
    values = {"p50_s": 0.02, "p99_s": 0.3, "requests": 40.0, "failed": 1.0}
    results = Results(
        peaks={"m.onnx": 40.0},
        records=[Record("m.onnx", OURS, number, "80 %", values) for number in (1, 2)],
    )
    text = open_table(results, "m.onnx")
    assert "80 %, 32.0/s: p50 ms" in text
    assert "| 20 | 300 | 2.5 % |" in text


def test_closed_loops_alone_make_one_table() -> None:
    assert open_table(raced("p50_s", "alone", ours=[1.0]), "m.onnx") == ""


@pytest.mark.parametrize(
    "records", [[], [Record("m.onnx", OURS, 1, "memory", {"rss_bytes": 2.0**20})]]
)
def test_who_did_not_run_says_why(records: list[Record]) -> None:
    results = Results(records=records, failures={"m.onnx": {"LitServe": "not installed"}})
    assert "\n\nLitServe: not installed" in report(results)
    assert "| LitServe |" in report(results)
