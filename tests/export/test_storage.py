"""Weights that the file holds in float16 and the graph computes with in float32."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from export.precision.ranges import quiet_session
from export.storage import stored_in_halves
from model.network.halves import SMALLEST

ROWS = SMALLEST // 8


def graph_of(weights: np.ndarray) -> onnx.ModelProto:
    """y = x weights."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", weights.shape[0]])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", weights.shape[1]])
    node = helper.make_node("MatMul", ["x", "w"], ["y"], "product")
    graph = helper.make_graph([node], "g", [x], [y], [numpy_helper.from_array(weights, "w")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def weights(rows: int = ROWS) -> np.ndarray:
    """What float16 holds exactly."""
    return np.random.default_rng(0).normal(size=(rows, 8)).astype(np.float16).astype(np.float32)


def kind_of_weights(model: onnx.ModelProto) -> int:
    (tensor,) = model.graph.initializer
    return int(tensor.data_type)


def test_the_graph_answers_to_the_bit_as_before_and_takes_half_the_bytes() -> None:
    model = graph_of(weights())
    stored = stored_in_halves(model)
    x = np.random.default_rng(1).normal(size=(5, ROWS)).astype(np.float32)
    before, after = (quiet_session(m).run(None, {"x": x})[0] for m in (model, stored))
    assert np.array_equal(before, after)
    assert kind_of_weights(stored) == TensorProto.FLOAT16
    assert stored.ByteSize() < 0.6 * model.ByteSize()
    assert kind_of_weights(model) == TensorProto.FLOAT  # it is a copy


@pytest.mark.parametrize("odd", [1.0001, 1e6, 1e-9])
def test_what_float16_would_change_stays_as_it_is(odd: float) -> None:
    values = weights()
    values[3, 4] = odd
    assert kind_of_weights(stored_in_halves(graph_of(values))) == TensorProto.FLOAT


def test_small_tensors_stay_as_they_are() -> None:
    assert kind_of_weights(stored_in_halves(graph_of(weights(ROWS - 1)))) == TensorProto.FLOAT
