"""ONNX files in ONNX Runtime on the CPU: torchvision's own export, and ours in each precision."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.engine.contender import Photographs, torchvision_found
from export.runtime import onnxruntime

Feed = dict[str, NDArray[Any]]
FATAL = 4


class OnnxContender:
    """A session of a file with ONNX Runtime's defaults, as the service opens it.

    Args:
        model: the ONNX file.
        threads: of ONNX Runtime.
    """

    def __init__(self, model: Path, threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = FATAL
        self._session = onnxruntime.InferenceSession(model, options, ["CPUExecutionProvider"])

    def run(self, inputs: Feed) -> list[NDArray[Any]]:
        """All outputs, in the graph's order."""
        outputs: list[NDArray[Any]] = self._session.run(None, inputs)
        return outputs


class TorchvisionOnnx(OnnxContender):
    """torchvision's export: one image, float32 in 0..1; boxes, labels and scores."""

    def prepared(self, photographs: Photographs) -> Feed:
        """The first of `photographs`."""
        return {"image": photographs[0].astype(np.float32) / 255}

    def found(self, results: list[NDArray[Any]]) -> dict[str, list[Any]]:
        """Of the image."""
        return torchvision_found(*results)


class Ours(OnnxContender):
    """Our artifact: any batch of uint8 images, whose frame they fill."""

    def prepared(self, photographs: Photographs) -> Feed:
        """All of `photographs`, as one batch."""
        N, _, H, W = photographs.shape
        return {
            "images": photographs,
            "sizes": np.array([[H, W]] * N),
            "regions": np.zeros((N, 0, 4), np.float32),
        }

    def found(self, results: list[NDArray[Any]]) -> dict[str, list[Any]]:
        """Of the first image, without what fills the fixed count."""
        boxes, scores, labels, _, counts, *_ = results
        real = slice(int(counts[0]))
        return {
            "boxes": boxes[0, real].tolist(),
            "labels": labels[0, real].tolist(),
            "scores": scores[0, real].tolist(),
        }
