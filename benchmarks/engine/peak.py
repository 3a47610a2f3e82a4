"""The most arithmetic that this machine does in ONNX Runtime: one large matrix product, in float32 and in int8."""

import time
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from export.runtime import onnxruntime

SIDE = 2048  # large enough that a product of matrices is bound by arithmetic and not by memory
RUNS = 20


def peaks(threads: int) -> dict[str, float]:
    """Operations a second (a multiplication and an addition are two): of float32, and of uint8 by int8."""
    random = np.random.default_rng(0)
    single = random.random((SIDE, SIDE), dtype=np.float32)
    small = random.integers(-100, 100, (SIDE, SIDE), dtype=np.int8)
    return {
        "float32": _rate("MatMul", single, single, threads),
        "int8": _rate("MatMulInteger", small.view(np.uint8), small, threads),
    }


def _rate(operator: str, left: NDArray[Any], right: NDArray[Any], threads: int) -> float:
    kind = helper.np_dtype_to_tensor_dtype(left.dtype)
    result = TensorProto.FLOAT if operator == "MatMul" else TensorProto.INT32
    graph = helper.make_graph(
        [helper.make_node(operator, ["left", "right"], ["product"])],
        operator,
        [helper.make_tensor_value_info("left", kind, left.shape)],
        [helper.make_tensor_value_info("product", result, left.shape)],
        [onnx.numpy_helper.from_array(right, "right")],  # a constant, packed once, as weights are
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, ["CPUExecutionProvider"]
    )
    seconds = []
    for _ in range(1 + RUNS):
        start = time.perf_counter()
        session.run(None, {"left": left})
        seconds.append(time.perf_counter() - start)
    return 2.0 * SIDE**3 / min(seconds)
