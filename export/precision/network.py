"""Which nodes of the graph are the network, and may be computed with fewer bits.

The network is the convolutions with what lies between two of them, and the fully connected layers. The rest is
arithmetic on pixels and boxes: normalisation, decoding, overlaps, suppression, RoIAlign and the final softmax. It
stays in float32 in every precision: float16 resolves no coordinate past 1,024 to a pixel.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator

import onnx

# Layers: what has a weight. Between: what passes activations on from layer to layer.
LAYERS = ("Conv", "Gemm", "MatMul")
BETWEEN = ("Relu", "Clip", "Add", "Resize", "MaxPool", "Flatten", "Reshape")


class Network:
    """The nodes of `model` that are the network.

    Attributes:
        layers: names of the nodes with weights, in the graph's order.
        nodes: names of all the network's nodes, the layers among them.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self._graph = model.graph
        self._maker = {output: node for node in model.graph.node for output in node.output}
        self._takers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
        for node in model.graph.node:
            for name in node.input:
                self._takers[name].append(node)
        weights = {tensor.name for tensor in model.graph.initializer}
        layers = [
            node
            for node in model.graph.node
            if node.op_type in LAYERS and weights.intersection(node.input)
        ]
        # Boxes reach a fully connected layer, too, through RoIAlign; but only features reach the next one directly.
        convolutions = [node for node in layers if node.op_type == "Conv"]
        inner = _closure(convolutions, self._after) & _closure(convolutions, self._before)
        connected = [node for node in layers if node.op_type != "Conv"]
        inner |= _closure(connected, self._plainly_after) & _closure(
            connected, self._plainly_before
        )
        self.layers = [node.name for node in layers]
        self.nodes = set(self.layers) | {
            node.name for node in model.graph.node if node.name in inner and node.op_type in BETWEEN
        }

    def results(self) -> list[str]:
        """The tensors that leave the network: pyramid maps, the proposal head's and the second stage's predictions."""
        return [
            output
            for node in self._graph.node
            if node.name in self.nodes
            for output in node.output
            if any(taker.name not in self.nodes for taker in self._takers[output])
        ]

    def activations(self) -> list[str]:
        """The tensors, but for constants, that enter or leave a node of the network."""
        inside = [node for node in self._graph.node if node.name in self.nodes]
        features = {"Resize": 1, "Reshape": 1, "Clip": 1}  # their other inputs are sizes and limits
        entering = [
            name
            for node in inside
            for name in node.input[: features.get(node.op_type, len(node.input))]
            if name in self._maker and self._maker[name].op_type != "Constant"
        ]
        leaving = [output for node in inside for output in node.output]
        return list(dict.fromkeys(entering + leaving))

    def results_of(self, layer: str) -> list[str]:
        """Those of `results` that `layer` reaches without leaving the network."""
        start = [node for node in self._graph.node if node.name == layer]
        reached = {layer} | _closure(
            start, lambda node: (n for n in self._after(node) if n.name in self.nodes)
        )
        made = {o for node in self._graph.node if node.name in reached for o in node.output}
        return [name for name in self.results() if name in made]

    def _after(self, node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
        return (taker for output in node.output for taker in self._takers[output])

    def _before(self, node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
        return (self._maker[name] for name in node.input if name in self._maker)

    def _plainly_after(self, node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
        return (n for n in self._after(node) if n.op_type in ("Relu", "Clip"))

    def _plainly_before(self, node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
        return (n for n in self._before(node) if n.op_type in ("Relu", "Clip"))


def _closure(
    start: Iterable[onnx.NodeProto],
    step: Callable[[onnx.NodeProto], Iterator[onnx.NodeProto]],
) -> set[str]:
    """Names of the nodes that `step` reaches from `start` in one step or more."""
    reached: set[str] = set()
    waiting = list(start)
    while waiting:
        for node in step(waiting.pop()):
            if node.name not in reached:
                reached.add(node.name)
                waiting.append(node)
    return reached
