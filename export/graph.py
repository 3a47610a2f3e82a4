"""The detector as an ONNX graph: `Detector.detect` traced whole, for any batch, height and width.

What is traced is the code that evaluation runs. Two things are said here that torch cannot say: that frozen norms
are already folded into their convolutions, and that `fpn::nms` is one batched NonMaxSuppression node, whose
batch axis is images x levels (or images), so its cost does not grow with the number of classes.

Opset 18: RoiAlign-16 (half-pixel alignment) needs at least 16, and past 18 ONNX Runtime's CUDA provider lacks Resize.

Legend
    N   images        H W  the frame, multiples of 32        B K  see model/network/nms.py
"""

import copy
import hashlib
import warnings
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnxscript import opset18
from torch import Tensor, nn

from model.config.resize import FRAME_STRIDE
from model.network.detector import Detections, Detector
from model.network.frozen_norm import FrozenNormConv2d

OPSET = 18
# its operators are annotated with ONNX's tensor types, which their results are not
op: Any = opset18
INPUTS = ("images", "sizes", "regions")
OUTPUTS = Detections._fields

# Any frame serves for tracing; two images, neither square nor equal, keep a 1 or an N from being taken for granted.
TRACED_FRAME = (2 * FRAME_STRIDE, 3 * FRAME_STRIDE)
TRACED_SIZES = ((64, 90), (50, 96))
# Three regions of each image, so that their number is taken for neither the batch nor one.
TRACED_REGIONS = 3
# The largest integer of a graph: OpenVINO and TensorRT keep 64-bit integers in 32 bits.
LARGEST = 2**31 - 1


def trace(detector: Detector) -> onnx.ModelProto:
    """The graph of `detector`, checked by onnx.checker. The detector itself is left as it was."""
    network = _Inference(with_plain_convolutions(detector)).eval()
    images = torch.zeros((len(TRACED_SIZES), 3, *TRACED_FRAME), dtype=torch.uint8)
    regions = torch.tensor([[4.0, 4, 40, 30], [0, 0, 64, 50], [10, 20, 30, 44]])
    regions = regions[:TRACED_REGIONS].expand(len(TRACED_SIZES), -1, -1).clone()
    E = torch.export.Dim("E", min=0)
    N, H, W = (torch.export.Dim(name) for name in ("N", f"H_{FRAME_STRIDE}", f"W_{FRAME_STRIDE}"))
    with warnings.catch_warnings(), torch.no_grad():
        # the exporter's own deprecations; the result is compared with torch
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            network,
            (images, torch.tensor(TRACED_SIZES), regions),
            dynamo=True,
            verbose=False,
            opset_version=OPSET,
            input_names=list(INPUTS),
            output_names=list(OUTPUTS),
            dynamic_shapes=({0: N, 2: FRAME_STRIDE * H, 3: FRAME_STRIDE * W}, {0: N}, {0: N, 1: E}),
            custom_translation_table={torch.ops.fpn.nms.default: _non_max_suppression},
        )
    assert program is not None
    model: onnx.ModelProto = program.model_proto
    del model.metadata_props[:]
    for node in model.graph.node:  # traces of this machine's source paths
        del node.metadata_props[:]
        node.doc_string = ""
    _hold_to_32_bits(model)
    onnx.checker.check_model(model, full_check=True)
    return model


def _hold_to_32_bits(model: onnx.ModelProto) -> None:
    """Writes the ends of slices that mean "all of it", the largest of 64 bits, as the largest of 32."""
    for tensor in model.graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        if values.dtype == np.int64 and (values > LARGEST).any():
            held = np.minimum(values, LARGEST)
            tensor.CopyFrom(onnx.numpy_helper.from_array(held, tensor.name))


def feed(images: Tensor, sizes: Tensor, regions: Tensor | None = None) -> dict[str, NDArray[Any]]:
    """The inputs of the graph by name; without `regions`, none of any image."""
    if regions is None:
        regions = torch.zeros((len(images), 0, 4))
    return dict(zip(INPUTS, (images.numpy(), sizes.numpy(), regions.numpy()), strict=True))


def missing_weights(detector: Detector, model: onnx.ModelProto) -> list[str]:
    """The names of the weights of `detector`, its norms folded, that `model` does not hold bit by bit.

    No answer can show a weight that the images of a comparison do not reach, such as one of a class that is nowhere
    seen. The exporter gives some another shape, as a norm's, and turns some matrices; what does nothing, zeros that are
    added and ones that are multiplied, it leaves out, and they are not looked for.
    """
    held = set()
    for tensor in model.graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        held.add(_fingerprint(values))
        if values.ndim == 2:
            held.add(_fingerprint(values.T))
    parameters = with_plain_convolutions(detector).named_parameters()
    return [
        name
        for name, value in parameters
        if not (_all(value, 0) or _all(value, 1))
        and _fingerprint(value.detach().numpy()) not in held
    ]


def _all(weights: Tensor, value: int) -> bool:
    return bool((weights == value).all())


def _fingerprint(weights: NDArray[Any]) -> tuple[int, bytes]:
    return weights.size, hashlib.sha256(np.ascontiguousarray(weights).tobytes()).digest()


class _Inference(nn.Module):
    """`detect` under the name that the tracer calls."""

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, images: Tensor, sizes: Tensor, regions: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.detector.detect(images, sizes, regions))


def with_plain_convolutions(detector: Detector) -> Detector:
    """A copy of `detector` whose frozen norms are folded into their convolutions."""
    plain = copy.deepcopy(detector)
    for module in list(plain.modules()):
        for name, child in module.named_children():
            if isinstance(child, FrozenNormConv2d):
                setattr(module, name, child.folded())
    return plain


def _non_max_suppression(boxes: Any, scores: Any, iou_threshold: float) -> Any:
    """`fpn::nms` in ONNX: survivors' (row, box) pairs become a mask [B, K]."""
    most = op.Shape(scores, start=1, end=2)  # the operator's own default is to keep none
    threshold = op.Constant(value_float=iou_threshold)
    one_class = op.Unsqueeze(scores, op.Constant(value_ints=[1]))  # (B, K) -> (B, 1, K)
    survivors = op.NonMaxSuppression(boxes, one_class, most, threshold)
    pairs = op.Gather(survivors, op.Constant(value_ints=[0, 2]), axis=1)  # of (row, class, box)
    none = op.Expand(op.Constant(value_float=0.0), op.Shape(scores))
    ones = op.Expand(op.Constant(value_float=1.0), op.Shape(pairs, start=0, end=1))
    return op.Cast(op.ScatterND(none, pairs, ones), to=onnx.TensorProto.BOOL)
