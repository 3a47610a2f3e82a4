"""Doubling in int8: the values of Resize, by other operators, and only where it does double."""

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from export.precision.doubling import double_by_copies
from export.runtime import ONNXModel, onnxruntime

ASYMMETRIC = 'coordinate_transformation_mode = "asymmetric", nearest_mode = "floor"'
DOUBLING = f'mode = "nearest", {ASYMMETRIC}'


def quantised_resize(
    attributes: str = DOUBLING,
    scales: str = "1, 1, 2, 2",
    scale_after: float = 0.5,
    takers: int = 1,
) -> onnx.ModelProto:
    """A map to uint8, back, resized, to uint8 and back; with more takers the map is also an output as it was."""
    also, sum_of = (", float[N, C, H, W] same", "same = Relu (small)") if takers > 1 else ("", "")
    return onnx.parser.parse_model(f"""
        <ir_version: 9, opset_import: ["": 18]>
        g (float[N, C, H, W] map) => (float[N, C, H2, W2] doubled{also})
        <float before = {{0.5}}, float after = {{{scale_after}}}, uint8 zero = {{7}}, float[4] scales = {{{scales}}}>
        {{
            small_q = QuantizeLinear (map, before, zero)
            small = DequantizeLinear (small_q, before, zero)
            {sum_of}
            large = Resize <{attributes}> (small, , scales)
            large_q = QuantizeLinear (large, after, zero)
            doubled = DequantizeLinear (large_q, after, zero)
        }}""")


def named(model: onnx.ModelProto) -> onnx.ModelProto:
    for node in model.graph.node:
        node.name = f"node_{node.output[0]}"
    return model


def run(model: onnx.ModelProto, values: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    ordered = ONNXModel(model)
    ordered.topological_sort()
    onnx.checker.check_model(ordered.model, full_check=True)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        ordered.model.SerializeToString(), options, ["CPUExecutionProvider"]
    )
    outputs: list[NDArray[np.float32]] = session.run(None, {"map": values})
    return outputs


@settings(max_examples=25, deadline=None)
@given(st.tuples(*[st.integers(1, 5)] * 4), st.integers(1, 2), st.integers(0, 9))
def test_copies_give_the_values_of_resize(
    shape: tuple[int, int, int, int], takers: int, seed: int
) -> None:
    values = np.random.default_rng(seed).normal(size=shape).astype(np.float32) * 20
    expected = run(named(quantised_resize(takers=takers)), values)
    model = named(quantised_resize(takers=takers))
    double_by_copies(model)
    assert "Resize" not in {node.op_type for node in model.graph.node}
    for got, wanted in zip(run(model, values), expected, strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_no_constant_is_left_that_nobody_takes() -> None:
    model = named(quantised_resize())
    double_by_copies(model)
    taken = {name for node in model.graph.node for name in node.input}
    assert {tensor.name for tensor in model.graph.initializer} <= taken


@pytest.mark.parametrize(
    "resize",
    [
        quantised_resize(scale_after=0.25),
        quantised_resize(scales="1, 1, 3, 2"),
        quantised_resize(f'mode = "linear", {ASYMMETRIC}'),
        quantised_resize('mode = "nearest", coordinate_transformation_mode = "align_corners"'),
    ],
    ids=["another scale", "not two", "not nearest", "corners aligned"],
)
def test_what_does_not_double_in_int8_is_left_alone(resize: onnx.ModelProto) -> None:
    model = named(resize)
    before = model.SerializeToString()
    double_by_copies(model)
    assert model.SerializeToString() == before
