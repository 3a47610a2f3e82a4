"""Large weights of a graph as float16: half the bytes of the file, computed in float32 all the same.

Each stands as float16 with a Cast to float32 in front of what takes it, which a runtime folds while it loads the file.
Only what float16 holds exactly is stored so: the graph computes what it computed before. Weights are brought there
first (`model/network/halves.py`).
"""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from model.network.halves import SMALLEST


def stored_in_halves(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of `model`, which computes the same, with every large tensor in float16 that is exact there."""
    stored = onnx.ModelProto()
    stored.CopyFrom(model)
    casts = []
    for tensor in stored.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT:
            continue
        values = numpy_helper.to_array(tensor)
        with np.errstate(over="ignore"):  # infinity is not what it was
            half = values.astype(np.float16)
        if values.size >= SMALLEST and np.array_equal(half.astype(np.float32), values):
            name = tensor.name
            tensor.CopyFrom(numpy_helper.from_array(half, f"{name}_stored"))
            casts.append(
                helper.make_node(
                    "Cast", [tensor.name], [name], f"{name}_cast", to=TensorProto.FLOAT
                )
            )
    nodes = [*casts, *stored.graph.node]
    del stored.graph.node[:]
    stored.graph.node.extend(nodes)
    onnx.checker.check_model(stored, full_check=True)
    return stored
