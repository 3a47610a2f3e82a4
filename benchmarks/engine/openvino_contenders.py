"""torchvision's own ONNX export in OpenVINO."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.engine.contender import Photographs, torchvision_found

# With it, importing openvino writes a client id into the home folder and sends an event; without it openvino takes a
# stub of its own.
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]

import openvino  # noqa: E402


class OpenVino:
    """The file that ONNX Runtime is given, computed in float32 like there.

    Args:
        model: the ONNX file.
        threads: of OpenVINO.
    """

    precision = "f32"

    def __init__(self, model: Path, threads: int) -> None:
        settings = {
            "INFERENCE_NUM_THREADS": threads,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": self.precision,
        }
        compiled = openvino.Core().compile_model(model, "CPU", settings)
        self._request = compiled.create_infer_request()

    def prepared(self, photographs: Photographs) -> NDArray[np.float32]:
        """The first of `photographs`, float32 in 0..1."""
        image: NDArray[np.float32] = photographs[0].astype(np.float32) / 255
        return image

    def run(self, inputs: NDArray[np.float32]) -> list[NDArray[Any]]:
        """Boxes, labels and scores."""
        results = self._request.infer({0: inputs})
        return [results[place] for place in range(3)]

    def found(self, results: list[NDArray[Any]]) -> dict[str, list[Any]]:
        """Of the image."""
        return torchvision_found(*results)


class OpenVinoBfloat16(OpenVino):
    """The same in bfloat16, which OpenVINO takes by itself on a CPU that multiplies it."""

    precision = "bf16"
