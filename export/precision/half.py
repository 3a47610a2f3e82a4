"""float16 for CUDA: the network in half precision, everything else in float32.

A tensor that enters the network is cast to float16, one that leaves it is cast back; between its nodes nothing is cast,
and outside of it nothing is ever float16: ONNX Runtime's own converter rounds the results of the nodes that it is told
to leave alone, and the place of a detection among 6,000 candidates does not survive that.
"""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from export.precision.network import Network

# Of these nodes only the first input is an activation; the others are shapes and factors of a type of their own.
FIRST_ONLY = ("Resize", "Reshape")


def halved(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of the float32 `model` whose `Network.nodes` compute in float16; inputs and outputs are as before."""
    half = onnx.ModelProto()
    half.CopyFrom(model)
    del half.graph.value_info[:]  # they would still say float32
    conversion = _Conversion(half)
    nodes = [new for node in model.graph.node for new in conversion.converted(node)]
    del half.graph.node[:]
    half.graph.node.extend(nodes)
    _drop_unused_weights(half)
    onnx.checker.check_model(half, full_check=True)
    return half


class _Conversion:
    """Rewrites nodes one after another; adds the float16 weights that they need to the graph."""

    def __init__(self, half: onnx.ModelProto) -> None:
        self._graph = half.graph
        network = Network(half)
        self._nodes = network.nodes
        self._leaving = set(network.results())
        self._inside = {o for n in self._graph.node if n.name in network.nodes for o in n.output}
        self._weights = {tensor.name: tensor for tensor in self._graph.initializer}
        self._ready: set[str] = set()  # float16 tensors that exist beside those of `_inside`

    def converted(self, node: onnx.NodeProto) -> list[onnx.NodeProto]:
        """`node` as it is, or in float16 with the casts before and behind it."""
        if node.name not in self._nodes:
            return [node]
        new = onnx.NodeProto()
        new.CopyFrom(node)
        casts_before = []
        for place, name in enumerate(node.input):
            if not name or (place and node.op_type in FIRST_ONLY):
                continue
            new.input[place] = _half_name(name)
            if name in self._weights:
                self._add_weight(name)
            elif name not in self._inside and name not in self._ready:
                self._ready.add(name)
                casts_before.append(_cast(name, _half_name(name), TensorProto.FLOAT16))
        new.output[:] = [_half_name(name) for name in node.output]
        casts_behind = [
            _cast(_half_name(name), name, TensorProto.FLOAT)
            for name in node.output
            if name in self._leaving
        ]
        return [*casts_before, new, *casts_behind]

    def _add_weight(self, name: str) -> None:
        if name not in self._ready:
            self._ready.add(name)
            values = numpy_helper.to_array(self._weights[name]).astype(np.float16)
            self._graph.initializer.append(numpy_helper.from_array(values, _half_name(name)))


def _half_name(name: str) -> str:
    return f"{name}_half"


def _cast(name: str, new_name: str, kind: int) -> onnx.NodeProto:
    return helper.make_node("Cast", [name], [new_name], name=f"cast_{new_name}_{name}", to=kind)


def _drop_unused_weights(model: onnx.ModelProto) -> None:
    used = {name for node in model.graph.node for name in node.input}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
