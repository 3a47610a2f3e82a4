from pathlib import Path

import pytest

from service.engine.placement import check_placement, count_nodes, read_placement
from service.engine.providers import CPU, CUDA, TENSORRT, GpuOptions
from service.engine.runtime import ort
from service.engine.session import CpuOptions, open_session
from service.errors import InvalidModel


def test_nodes_are_counted_by_provider_and_operator_in_order_of_name() -> None:
    subgraphs = [(CUDA, ["Conv"]), (CPU, ["Shape"]), (CUDA, ["TopK", "Conv"]), (CPU, ["Gather"])]
    placement = count_nodes(subgraphs)
    assert placement == {CPU: {"Gather": 1, "Shape": 1}, CUDA: {"Conv": 2, "TopK": 1}}
    assert [list(placement), list(placement[CPU])] == [[CPU, CUDA], ["Gather", "Shape"]]


@pytest.mark.parametrize("provider", [CUDA, TENSORRT])
def test_a_gpu_that_leaves_heavy_nodes_to_the_cpu_is_refused_and_they_are_named(
    provider: str,
) -> None:
    placement = {provider: {"Conv": 70}, CPU: {"RoiAlign": 4, "Shape": 9, "TopK": 5}}
    with pytest.raises(InvalidModel, match=r"that it is there for: RoiAlign x 4, TopK x 5; ONNX"):
        check_placement(placement, provider)


@pytest.mark.parametrize(
    "operator",
    ["Conv", "RoiAlign", "NonMaxSuppression", "TopK", "Resize", "MatMul", "Gemm", "QLinearConv"],
)
def test_one_heavy_node_on_the_cpu_is_enough(operator: str) -> None:
    with pytest.raises(InvalidModel, match=f"{operator} x 1"):
        check_placement({CUDA: {operator: 69}, CPU: {operator: 1}}, CUDA)


def test_arithmetic_on_shapes_may_stay_on_the_cpu() -> None:
    check_placement({CUDA: {"Conv": 70}, CPU: {"Shape": 9, "Gather": 8, "Concat": 3}}, CUDA)


def test_what_tensorrt_leaves_to_cuda_is_no_fault() -> None:
    check_placement({TENSORRT: {"Conv": 70}, CUDA: {"NonMaxSuppression": 2}}, TENSORRT)


def test_on_the_cpu_everything_may_run_on_the_cpu() -> None:
    check_placement({CPU: {"Conv": 70, "RoiAlign": 4}}, CPU)


def test_a_session_says_where_its_nodes_run(tiny_path: Path) -> None:
    placement = read_placement(open_session(tiny_path, "cpu", CpuOptions(1), GpuOptions()))
    assert list(placement) == [CPU]
    # The graph of tiny_model.py; the shapes of its constants are not folded into fewer nodes.
    assert {op: placement[CPU][op] for op in ("Slice", "Loop", "ReduceMax", "Unsqueeze")} == {
        "Slice": 1,
        "Loop": 1,
        "ReduceMax": 1,
        "Unsqueeze": 4,
    }


def test_a_session_that_does_not_record_it_is_our_own_fault(tiny_path: Path) -> None:
    with pytest.raises(Exception, match="record_ep_graph_assignment_info"):
        read_placement(ort.InferenceSession(tiny_path, providers=[CPU]))
