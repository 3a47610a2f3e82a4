"""int8 for CPUs: static quantisation of the network, per channel, calibrated on photographs.

Weights are int8, each output channel with its own scale; activations are uint8, each tensor with the range that it had
on the calibration photographs; sums are int32. The graph says so with QuantizeLinear and DequantizeLinear around each
layer (QDQ), which ONNX Runtime joins into integer kernels. The quantiser is ONNX Runtime's own. What it may touch is
`Network.nodes`; a layer whose rounding shows too much is left in float32 (see `most_sensitive`). A range is the mean,
over the photographs, of each one's smallest and largest value: the extremes of all of them would give a few outliers
most of the 256 steps (the default model with every layer in int8: AP50 31.9 with means, 31.1 with extremes).

A convolution on an AVX-512 VNNI or newer CPU multiplies uint8 by int8 exactly. Older x86 kernels saturate pairs of
products at 16 bits and answer less exactly: measure there before serving.
"""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)

from export.network import Network

Feed = dict[str, NDArray[Any]]

# How many photographs a layer's sensitivity is measured on.
MEASURED = 4


class Quantizer:
    """Makes int8 models of one float32 model; its photographs are looked at once. A context manager.

    Args:
        model: the float32 graph.
        feeds: the graph's inputs for each calibration photograph.
    """

    def __init__(self, model: onnx.ModelProto, feeds: Sequence[Feed]) -> None:
        self._model = model
        self._feeds = feeds
        self._folder = TemporaryDirectory()
        self.network = Network(model)
        self._quantise(model, self.network.nodes)  # takes the ranges of all tensors, and keeps them

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Removes what it keeps in files."""
        self._folder.cleanup()

    def quantised(self, kept: Sequence[str] = ()) -> onnx.ModelProto:
        """The model with its network in int8, the layers `kept` in float32."""
        return self._quantise(self._model, self.network.nodes - set(kept))

    def most_sensitive(self) -> list[str]:
        """All layers, the one first whose quantisation alone changes the network's results most.

        The change is summed over the results that the layer reaches: of each the root mean square of the difference
        over that of the result, on MEASURED photographs.
        """
        shown = onnx.ModelProto()
        shown.CopyFrom(self._model)
        results = self.network.results()
        shown.graph.output.extend(
            onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
            for name in results
        )
        feeds = self._feeds[:MEASURED]
        expected = _run(shown, results, feeds)
        change = {}
        for layer in self.network.layers:
            reached = self.network.results_of(layer)
            got = _run(self._quantise(shown, {layer}), reached, feeds)
            change[layer] = sum(_difference(expected[name], got[name]) for name in reached)
        return sorted(change, key=lambda layer: change[layer], reverse=True)

    def _quantise(self, model: onnx.ModelProto, nodes: set[str]) -> onnx.ModelProto:
        path = Path(self._folder.name) / "int8.onnx"
        source = onnx.ModelProto()
        source.CopyFrom(model)  # the quantiser changes what it is given
        root = logging.getLogger()
        level = root.level
        root.setLevel(logging.ERROR)  # it warns of what it is not asked to quantise
        try:
            quantize_static(
                source,
                path,
                _Photographs(self._feeds),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=sorted(
                    {n.op_type for n in source.graph.node if n.name in self.network.nodes}
                ),
                nodes_to_quantize=sorted(nodes),
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                calibrate_method=CalibrationMethod.MinMax,
                extra_options={"CalibMovingAverage": True},
                calibration_cache_path=Path(self._folder.name) / "ranges.json",
            )
        finally:
            root.setLevel(level)
        return onnx.load(path)


class _Photographs(CalibrationDataReader):  # type: ignore[misc]
    """The feeds, one at a time, as the calibrator asks for them."""

    def __init__(self, feeds: Sequence[Feed]) -> None:
        self._left: Iterator[Feed] = iter(feeds)

    def get_next(self) -> Feed | None:
        return next(self._left, None)


def _run(
    model: onnx.ModelProto, names: list[str], feeds: Sequence[Feed]
) -> dict[str, list[NDArray[Any]]]:
    """The values of the outputs `names`, for each feed."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, ["CPUExecutionProvider"]
    )
    runs = [session.run(names, feed) for feed in feeds]
    return {name: [run[place] for run in runs] for place, name in enumerate(names)}


def _difference(expected: list[NDArray[Any]], got: list[NDArray[Any]]) -> float:
    error = sum(float(np.square(e - g).sum()) for e, g in zip(expected, got, strict=True))
    return float(np.sqrt(error / max(1e-12, sum(float(np.square(e).sum()) for e in expected))))
