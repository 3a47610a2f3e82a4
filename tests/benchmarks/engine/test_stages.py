from collections.abc import Mapping
from typing import Any

import pytest

from benchmarks.engine.stages import STAGES, seconds_by_stage, share_of_rest, stage_of


def kernel(name: str, operator: str, microseconds: int) -> Mapping[str, Any]:
    return {
        "cat": "Node",
        "name": f"{name}_kernel_time",
        "dur": microseconds,
        "args": {"op_name": operator},
    }


@pytest.mark.parametrize(
    ("operator", "stage"),
    [
        ("Conv", "convolution"),
        ("QLinearConv", "convolution"),
        ("FusedGemm", "fully connected"),
        ("RoiAlign", "RoIAlign"),
        ("NonMaxSuppression", "NMS"),
        ("ReorderInput", "rest"),
        ("QuantizeLinear", "rest"),
    ],
)
def test_an_operator_belongs_to_one_stage(operator: str, stage: str) -> None:
    assert stage_of(operator) == stage


def test_the_first_runs_of_a_profile_are_left_out_and_the_median_run_counts() -> None:
    runs = [kernel("a", "Conv", microseconds) for microseconds in (900, 700, 100, 500, 300)]
    assert seconds_by_stage(runs, runs=3) == {**dict.fromkeys(STAGES, 0.0), "convolution": 300e-6}


def test_a_stage_is_the_sum_of_its_nodes_in_one_run() -> None:
    slow_then_fast = [kernel("a", "Conv", microseconds) for microseconds in (0, 0, 90, 10, 10)]
    fast_then_slow = [kernel("b", "Conv", microseconds) for microseconds in (0, 0, 10, 20, 90)]
    seconds = seconds_by_stage(slow_then_fast + fast_then_slow, runs=3)
    assert seconds["convolution"] == pytest.approx(100e-6)


def test_a_node_that_runs_twice_a_run_counts_twice() -> None:
    runs = [kernel("a", "TopK", 50)] * 6
    assert seconds_by_stage(runs, runs=1)["rest"] == pytest.approx(100e-6)


def test_what_is_no_kernel_is_not_counted() -> None:
    session = {"cat": "Session", "name": "model_run", "dur": 5000, "args": {}}
    runs = [session, *(kernel("a", "Gemm", microseconds) for microseconds in (10, 10, 20))]
    assert sum(seconds_by_stage(runs, runs=1).values()) == pytest.approx(20e-6)


def test_the_rest_is_all_but_convolutions_and_fully_connected_layers() -> None:
    seconds = dict(zip(STAGES, (6.0, 2.0, 1.0, 0.5, 0.5), strict=True))
    assert share_of_rest(seconds) == pytest.approx(0.2)
