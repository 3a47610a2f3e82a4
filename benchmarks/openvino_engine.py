"""A model file in OpenVINO, behind what the benchmark of accuracy asks of the service's engine."""

import sys
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from service.artifact.manifest import read_manifest
from service.artifact.tensors import OUTPUTS, Outputs

# With it, importing openvino writes a client id into the home folder and sends an event; without it openvino takes a
# stub of its own.
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]

import openvino  # noqa: E402


class OpenVinoEngine:
    """The file in float32, which is what it says, and not in what OpenVINO would take by itself.

    Args:
        path: the ONNX file.
        threads: of OpenVINO; 0 is its own choice.
    """

    provider = "OpenVINO, CPU"

    def __init__(self, path: Path, threads: int) -> None:
        found = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
        self.manifest = read_manifest(found["manifest"])
        settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads}
        self._request = openvino.Core().compile_model(path, "CPU", settings).create_infer_request()

    def run(self, images: NDArray[np.uint8], sizes: NDArray[np.int64]) -> Outputs:
        """The outputs of a batch."""
        regions = np.zeros((len(images), 0, 4), np.float32)
        found = self._request.infer({"images": images, "sizes": sizes, "regions": regions})
        return Outputs(**{name: np.array(found[name]) for name in OUTPUTS})
