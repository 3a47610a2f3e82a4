"""The range that each activation is quantised over: what costs least on the calibration photographs.

A range as wide as the largest value ever seen spends the 256 steps on a few outliers; a narrow one cuts off what may
matter most. Between them lies the one with the least mean squared error, found here by trying. On the default model
(300 proposals, its first four layers in float32, AP / AP50 on 513 photographs; float32: 17.65 / 32.88): extremes of
all photographs 17.37 / 31.70, means of each one's extremes 17.26 / 31.80 (they cut off large objects), least error
17.74 / 32.39. (With 8,192 values of each photograph; another draw of 4,096 had AP50 32.20: so wide is the noise.)

Source: the search of NVIDIA's "8-bit inference with TensorRT" (Migacz, GTC 2017), with squared error as its measure.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from export.precision.network import Network
from export.runtime import CalibrationMethod, TensorData, TensorsData, onnxruntime

Feed = dict[str, NDArray[Any]]
Values = NDArray[np.float32]

# Drawn from a tensor, of each photograph, besides its smallest and largest value.
SAMPLED = 4096
# How much of the whole range is tried.
FRACTIONS = np.linspace(0.2, 1.0, 33)
STEPS = 255
SEED = 0


def activation_ranges(
    model: onnx.ModelProto, network: Network, feeds: Sequence[Feed]
) -> TensorsData:
    """The range of each tensor that enters or leaves a node of the network, as ONNX Runtime's quantiser takes them.

    Args:
        model: the float32 graph.
        network: its network.
        feeds: the graph's inputs for each calibration photograph.
    """
    names = network.activations()
    seen: dict[str, list[Values]] = {name: [] for name in names}
    rng = np.random.default_rng(SEED)
    session = quiet_session(exposing(model, names))
    for feed in feeds:
        for name, values in zip(names, session.run(names, feed), strict=True):
            seen[name].append(_sample(values.ravel(), rng))
    found = {name: _data(*best_range(np.concatenate(each))) for name, each in seen.items()}
    return TensorsData(CalibrationMethod.MinMax, found)


def best_range(values: Values) -> tuple[float, float]:
    """The ends (at most 0, at least 0) over which uint8 represents `values` with the least mean squared error."""
    low, high = min(0.0, float(values.min())), max(0.0, float(values.max()))
    tried = {(low * part, high * part) for part in FRACTIONS}
    tried |= {(low * part, high) for part in FRACTIONS} | {(low, high * part) for part in FRACTIONS}
    return min(sorted(tried), key=lambda ends: _error(values, *ends))


def exposing(model: onnx.ModelProto, names: Sequence[str]) -> onnx.ModelProto:
    """A copy of `model` with the tensors `names` among its outputs."""
    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    there = {output.name for output in shown.graph.output}
    shown.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
        for name in names
        if name not in there
    )
    return shown


def quiet_session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    """`model` on the CPU, without its warnings."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    # where this CPU's fast int8 kernels saturate, the exact ones: what is measured here must hold on every CPU
    options.add_session_config_entry("session.x64quantprecision", "1")
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, ["CPUExecutionProvider"]
    )


def _sample(values: Values, rng: np.random.Generator) -> Values:
    if values.size <= SAMPLED:
        return values
    drawn = values[rng.integers(0, values.size, SAMPLED)]
    return np.concatenate([drawn, [values.min(), values.max()]], dtype=np.float32)


def _error(values: Values, low: float, high: float) -> float:
    """The mean squared error of `values` in uint8 between `low` and `high`."""
    step = (high - low) / STEPS
    if step <= 0:
        return float(np.square(values).mean())
    zero = round(-low / step)
    quantised = np.clip(np.rint(values / step) + zero, 0, STEPS)
    return float(np.square((quantised - zero) * step - values).mean())


def _data(low: float, high: float) -> TensorData:
    return TensorData(lowest=np.array(low, np.float32), highest=np.array(high, np.float32))
