"""int8 of a graph: which layers are lowered, which stay in float32, and which of them should."""

from pathlib import Path

import onnx
import pytest
import torch

from export.graph import feed
from export.precision.network import Network
from export.precision.quantise import RUN, Quantizer
from export.precision.ranges import Feed
from export.runtime import onnxruntime
from tests.detectors import noise


@pytest.fixture(scope="module")
def quantizer(graph: onnx.ModelProto) -> Quantizer:
    return Quantizer(graph, feeds())


def feeds() -> list[Feed]:
    return [feed(noise(1, (64, 96), seed), torch.tensor([[64, 96]])) for seed in range(4)]


def test_int8_quantises_every_layer_but_those_that_are_kept(quantizer: Quantizer) -> None:
    kept = quantizer.network.layers[0]
    model = quantizer.quantised([kept])
    quantised = {
        output for n in model.graph.node if n.op_type == "DequantizeLinear" for output in n.output
    }
    layers = {n.name: n for n in model.graph.node if n.name in quantizer.network.layers}
    assert {name for name, n in layers.items() if n.input[1] not in quantised} == {kept}
    assert all(n.input[1] in quantised for name, n in layers.items() if name != kept)


def test_a_layer_that_is_kept_stays_in_float32_when_the_runtime_optimises(
    quantizer: Quantizer, tmp_path: Path
) -> None:
    """Between two int8 layers ONNX Runtime would quantise it by itself, per tensor and past int32's range."""
    kept = quantizer.network.layers[2]
    in_int8 = [
        optimised(model, tmp_path).count("QLinearConv")
        for model in (quantizer.quantised(), quantizer.quantised([kept]))
    ]
    assert in_int8[0] - in_int8[1] == 1
    assert in_int8[1] > 30


def test_int8_doubles_maps_by_copies_and_passes_the_checker(quantizer: Quantizer) -> None:
    model = quantizer.quantised([quantizer.network.layers[2]])
    onnx.checker.check_model(model, full_check=True)
    assert "Resize" not in {node.op_type for node in model.graph.node}


def test_a_kept_layer_that_shares_its_weights_keeps_its_own(quantizer: Quantizer) -> None:
    convolutions = [n for n in quantizer.quantised().graph.node if n.op_type == "Conv"]
    head = convolutions[-1]  # of the coarsest level: the levels share the proposal head
    model = quantizer.quantised([head.name])
    (node,) = (n for n in model.graph.node if n.name == head.name)
    assert node.input[1] in {tensor.name for tensor in model.graph.initializer}


def test_no_two_layers_share_their_quantised_weights(quantizer: Quantizer) -> None:
    """ONNX Runtime cannot make shared ones uint8, as it must where its fast kernels saturate."""
    graph = quantizer.quantised().graph
    constants = {tensor.name for tensor in graph.initializer}
    dequantised = [
        n for n in graph.node if n.op_type == "DequantizeLinear" and n.input[0] in constants
    ]
    assert len(dequantised) > 40
    assert len({n.input[0] for n in dequantised}) == len(dequantised)
    for node in dequantised:
        assert sum(node.output[0] in taker.input for taker in graph.node) == 1


def optimised(model: onnx.ModelProto, folder: Path) -> list[str]:
    """The operators that ONNX Runtime makes of `model`."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(folder / "optimised.onnx")
    onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    return [node.op_type for node in onnx.load(folder / "optimised.onnx").graph.node]


def test_every_layer_is_ranked_once_in_a_run_of_neighbours(quantizer: Quantizer) -> None:
    """Those that share their weights with others, too."""
    layers = quantizer.network.layers
    runs = quantizer.most_sensitive()
    starts = [layers.index(run[0]) for run in runs]
    assert sorted(starts) == list(range(0, len(layers), RUN))
    assert runs == [tuple(layers[start : start + RUN]) for start in starts]


def test_the_run_whose_weights_int8_cannot_hold_is_ranked_first(graph: onnx.ModelProto) -> None:
    """Here a layer whose first input weighs a thousand times as much as the others."""
    spoilt = onnx.ModelProto()
    spoilt.CopyFrom(graph)
    layer = next(n for n in spoilt.graph.node if n.name == Network(spoilt).layers[4])
    weight = next(t for t in spoilt.graph.initializer if t.name == layer.input[1])
    values = onnx.numpy_helper.to_array(weight).copy()
    values[:, 0] *= 1000
    weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
    assert layer.name in Quantizer(spoilt, feeds()).most_sensitive()[0]
