"""The files that the contenders load, made when they are first asked for.

Ours are traced and quantised as `fpn-export` does it, but not judged, and with every layer in int8: give judged files
with --float32, --float16 and --int8.
"""

import warnings
from functools import cached_property
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torchvision.models.detection import FasterRCNN

from benchmarks.twin import torchvision_twin
from export.graph import trace
from export.precision.half import halved
from export.precision.quantise import Quantizer
from model.network.detector import Detector

# The newest that torchvision's export, which needs the older exporter, is tested with.
TORCHVISION_OPSET = 17


class Artifacts:
    """The path of each contender's file.

    Args:
        detector: whose weights every file holds.
        photographs: uint8 [n, 3, H, W], of the frame that torchvision's file is pinned to; int8 is calibrated on them.
        folder: an empty one.
        given: our files by precision, taken as they are.
        theirs: torchvision's detector of the same weights; made of ours without one.
    """

    def __init__(
        self,
        detector: Detector,
        photographs: NDArray[np.uint8],
        folder: Path,
        given: dict[str, Path],
        theirs: FasterRCNN | None = None,
    ) -> None:
        self._theirs = theirs
        self._detector, self._photographs = detector, photographs
        self._folder, self._given = folder, given

    def path(self, kind: str) -> Path:
        """The file of a contender (`contender.MAKERS`)."""
        match kind:
            case "eager" | "compiled" | "cuda-eager" | "cuda-eager-float16":
                return self._torchvision
            case "float32" | "cuda-float32":
                return self._float32
            case "float16" | "cuda-float16":
                return self._float16
            case "int8":
                return self._int8
            case _:
                return self._torchvision_onnx

    @property
    def _twin(self) -> FasterRCNN:
        return self._theirs or torchvision_twin(self._detector)

    @cached_property
    def _torchvision(self) -> Path:
        path = self._folder / "torchvision.pt"
        torch.save(self._twin, path)
        return path

    @cached_property
    def _torchvision_onnx(self) -> Path:
        path = self._folder / "torchvision.onnx"
        image = torch.from_numpy(self._photographs[0]).float() / 255
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the exporter's own
            torch.onnx.export(
                self._twin,
                ([image],),
                str(path),
                dynamo=False,
                opset_version=TORCHVISION_OPSET,
                input_names=["image"],
                output_names=["boxes", "labels", "scores"],
            )
        return path

    @cached_property
    def _float32(self) -> Path:
        path = self._given.get("float32", self._folder / "float32.onnx")
        if "float32" not in self._given:
            onnx.save(trace(self._detector), path)
        return path

    @cached_property
    def _float16(self) -> Path:
        path = self._given.get("float16", self._folder / "float16.onnx")
        if "float16" not in self._given:
            onnx.save(halved(onnx.load(self._float32)), path)
        return path

    @cached_property
    def _int8(self) -> Path:
        path = self._given.get("int8", self._folder / "int8.onnx")
        if "int8" not in self._given:
            size = np.array([self._photographs.shape[2:]])
            feeds = [
                {"images": image[None], "sizes": size, "regions": np.zeros((1, 0, 4), np.float32)}
                for image in self._photographs
            ]
            onnx.save(Quantizer(onnx.load(self._float32), feeds).quantised(), path)
        return path
