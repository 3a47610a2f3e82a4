"""Quantised weights that each layer has for itself.

The proposal head's layers run on every level with the same weights, which the quantiser dequantises once for all. On a
CPU whose fast int8 kernels are not exact ONNX Runtime makes a layer's weights uint8 while it loads a file
(`session.x64quantprecision`), and stops at weights that two nodes share ("Attempt to replace the existing tensor").
"""

from collections import defaultdict

import onnx


def unshare_weights(model: onnx.ModelProto) -> None:
    """Gives each taker of a dequantised weight but the first a copy of the node and of its constants.

    The values are the same. The new nodes are in no particular order among the others.
    """
    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    takers: dict[str, list[tuple[onnx.NodeProto, int]]] = defaultdict(list)
    for node in graph.node:
        for place, name in enumerate(node.input):
            takers[name].append((node, place))
    copies = []
    for shared in graph.node:
        if shared.op_type != "DequantizeLinear" or shared.input[0] not in constants:
            continue
        for number, (taker, place) in enumerate(takers[shared.output[0]][1:], start=1):
            own = _copy(shared, number, constants)
            taker.input[place] = own.output[0]
            copies.append(own)
    graph.node.extend(copies)
    there = {tensor.name for tensor in graph.initializer}
    graph.initializer.extend(t for name, t in constants.items() if name not in there)


def _copy(
    shared: onnx.NodeProto, number: int, constants: dict[str, onnx.TensorProto]
) -> onnx.NodeProto:
    """Copy `number` of `shared`; copies of its constants are added to `constants`."""
    own = onnx.NodeProto()
    own.CopyFrom(shared)
    own.name, own.output[0] = f"{shared.name}_{number}", f"{shared.output[0]}_{number}"
    for place, name in enumerate(shared.input):
        tensor = onnx.TensorProto()
        tensor.CopyFrom(constants[name])
        tensor.name = own.input[place] = f"{name}_{number}"
        constants[tensor.name] = tensor
    return own
