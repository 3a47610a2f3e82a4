"""int8 for CPUs: static quantisation of the network, per channel, calibrated on photographs.

Weights are int8, each output channel with its own scale; activations are uint8, each tensor with the range that it had
on the calibration photographs; sums are int32. The graph says so with QuantizeLinear and DequantizeLinear around each
layer (QDQ), which ONNX Runtime joins into integer kernels. The quantiser is ONNX Runtime's own, the ranges are those of
ranges.py. What it may touch is `Network.nodes`; layers whose rounding shows too much are left in float32 (see
`most_sensitive`).

ONNX Runtime's optimiser quantises a float32 layer, too, if it lies between a DequantizeLinear of one scale and a
QuantizeLinear: per tensor, and its bias without a look at the range of int32, which made the default model find nothing
(WeightBiasQuantization, seen in 1.31 and 1.32). A layer that is left in float32 therefore takes its input from a
DequantizeLinear that repeats the scale for every channel: the same values, and not what the optimiser looks for.

A CPU with VNNI multiplies uint8 by int8 exactly. Older x86 kernels add products in pairs, in 16 bits that saturate;
there ONNX Runtime makes the weights uint8 while it loads the file, for which each layer has weights of its own
(sharing.py).
"""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from export.precision.doubling import double_by_copies
from export.precision.network import Network
from export.precision.ranges import Feed, activation_ranges, exposing, quiet_session
from export.precision.sharing import unshare_weights
from export.runtime import ONNXModel, QDQQuantizer, QuantType

# How many photographs a run's sensitivity is measured on.
MEASURED = 4
# Layers that stay in float32 or do not together, neighbours in the graph's order; in MobileNetV2 those of one block.
# Where int8 meets float32 a map is converted and laid out anew; single layers kept here and there are all such borders.
RUN = 3


class Quantizer:
    """Makes int8 models of one float32 model; its photographs are looked at once.

    Args:
        model: the float32 graph.
        feeds: the graph's inputs for each calibration photograph.
    """

    def __init__(self, model: onnx.ModelProto, feeds: Sequence[Feed]) -> None:
        self._model = onnx.shape_inference.infer_shapes(model)
        self._measured = feeds[:MEASURED]
        self.network = Network(model)
        self._ranges = activation_ranges(model, self.network, feeds)
        constants = {tensor.name: tensor for tensor in model.graph.initializer}
        self._weights = {
            node.name: [constants[name] for name in node.input[1:]]
            for node in model.graph.node
            if node.name in set(self.network.layers)
        }

    def quantised(self, kept: Sequence[str] = ()) -> onnx.ModelProto:
        """The model with its network in int8, the layers `kept` in float32; checked by onnx.checker."""
        model = self._quantise(self._model, self.network.nodes - set(kept))
        onnx.checker.check_model(model, full_check=True)
        return model

    def most_sensitive(self) -> list[tuple[str, ...]]:
        """All layers in runs of RUN, the run first whose quantisation alone changes the network's results most.

        The change is summed over the results that the run reaches: of each the root mean square of the difference
        over that of the result, on MEASURED photographs.
        """
        results = self.network.results()
        shown = exposing(self._model, results)
        feeds = self._measured
        expected = _run(shown, results, feeds)
        layers = self.network.layers
        runs = [tuple(layers[start : start + RUN]) for start in range(0, len(layers), RUN)]
        change = {}
        for run in runs:
            reached = sorted({name for layer in run for name in self.network.results_of(layer)})
            got = _run(self._quantise(shown, set(run)), reached, feeds)
            change[run] = sum(_difference(expected[name], got[name]) for name in reached)
        return sorted(runs, key=lambda run: change[run], reverse=True)

    def _quantise(self, model: onnx.ModelProto, nodes: set[str]) -> onnx.ModelProto:
        source = onnx.ModelProto()
        source.CopyFrom(model)  # the quantiser changes what it is given
        quantizer = QDQQuantizer(
            source,
            per_channel=True,
            reduce_range=False,
            weight_qType=QuantType.QInt8,
            activation_qType=QuantType.QUInt8,
            tensors_range=self._ranges,
            nodes_to_quantize=sorted(nodes),
            nodes_to_exclude=[],
            op_types_to_quantize=sorted(
                {n.op_type for n in source.graph.node if n.name in self.network.nodes}
            ),
            extra_options={},
        )
        root = logging.getLogger()
        level = root.level
        root.setLevel(logging.ERROR)  # it warns of what it is not asked to quantise
        try:
            quantised: onnx.ModelProto = quantizer.quantize_model()
        finally:
            root.setLevel(level)
        _shield(quantised, {name: self._weights[name] for name in self._weights.keys() - nodes})
        double_by_copies(quantised)
        unshare_weights(quantised)
        ONNXModel(quantised).topological_sort()
        return quantised


def _shield(model: onnx.ModelProto, weights: dict[str, list[onnx.TensorProto]]) -> None:
    """Leave the layers that `weights` names alone: with these weights, and an input that no optimiser takes for int8's.

    The quantiser gives a layer dequantised weights, too, where an int8 layer shares them.
    """
    graph = model.graph
    makers = {output: node for node in graph.node for output in node.output}
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for place, node in reversed(list(enumerate(graph.node))):
        if node.name not in weights:
            continue
        for number, tensor in enumerate(weights[node.name], start=1):
            name = tensor.name if tensor.name in constants else f"{tensor.name}_float32"
            node.input[number] = name
            if name not in constants:
                constants[name] = onnx.TensorProto()
                constants[name].CopyFrom(tensor)
                constants[name].name = name
                graph.initializer.append(constants[name])
        maker = makers.get(node.input[0])
        if maker is not None and maker.op_type == "DequantizeLinear":
            own = _for_every_channel(maker, node, constants)
            node.input[0] = own.output[0]
            graph.node.insert(place, own)
            graph.initializer.extend(constants[name] for name in own.input[1:])


def _for_every_channel(
    shared: onnx.NodeProto, layer: onnx.NodeProto, constants: dict[str, onnx.TensorProto]
) -> onnx.NodeProto:
    """The DequantizeLinear `shared` with its scale and zero point, added to `constants`, once for each channel."""
    shape = constants[layer.input[1]].dims
    values = {a.name: onnx.helper.get_attribute_value(a) for a in layer.attribute}
    if layer.op_type == "Conv":
        channels = shape[1] * values.get("group", 1)
    else:
        channels = shape[1] if values.get("transB") else shape[0]
    names = [f"{layer.name}_input_scale", f"{layer.name}_input_zero_point"]
    for name, old in zip(names, shared.input[1:], strict=True):
        repeated = np.tile(numpy_helper.to_array(constants[old]).reshape(1), channels)
        constants[name] = numpy_helper.from_array(repeated, name)
    output = f"{layer.name}_input"
    return onnx.helper.make_node(
        "DequantizeLinear", [shared.input[0], *names], [output], output, axis=1
    )


def _run(
    model: onnx.ModelProto, names: list[str], feeds: Sequence[Feed]
) -> dict[str, list[NDArray[Any]]]:
    """The values of the outputs `names`, for each feed."""
    session = quiet_session(model)
    runs = [session.run(names, feed) for feed in feeds]
    return {name: [run[place] for run in runs] for place, name in enumerate(names)}


def _difference(expected: list[NDArray[Any]], got: list[NDArray[Any]]) -> float:
    error = sum(float(np.square(e - g).sum()) for e, g in zip(expected, got, strict=True))
    return float(np.sqrt(error / max(1e-12, sum(float(np.square(e).sum()) for e in expected))))
