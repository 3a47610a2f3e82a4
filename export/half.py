"""float16 for CUDA: the network in half precision, everything else in float32.

The conversion is ONNX Runtime's own. Weights below float16's smallest number become that number, those past its
largest the largest; the artifact must then pass the comparison with torch like any other.
"""

import onnx
from onnxruntime.transformers.float16 import convert_float_to_float16
from onnxruntime.transformers.onnx_model import OnnxModel

from export.network import Network


def halved(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of the float32 `model` whose `Network.nodes` compute in float16; inputs and outputs are as before."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    del copy.graph.value_info[:]  # they would still say float32
    network = Network(copy)
    kept = [node.name for node in copy.graph.node if node.name not in network.nodes]
    half: onnx.ModelProto = convert_float_to_float16(
        copy, keep_io_types=True, op_block_list=[], node_block_list=kept
    )
    OnnxModel(half).topological_sort()  # the converter appends its casts
    onnx.checker.check_model(half, full_check=True)
    return half
