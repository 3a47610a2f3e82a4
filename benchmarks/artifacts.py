"""The files that the contenders load, made once for each state of weights, code and libraries.

Ours are traced and quantised as `fpn-export` does it, but not judged, and with every layer in int8: give judged files
with --float32 and --int8.
"""

import hashlib
import warnings
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from benchmarks.networks import torchvision_twin
from export.graph import trace
from export.manifest import weights_digest
from export.precision.quantise import Quantizer
from model.network.detector import Detector

ROOT = Path(__file__).parent.parent
TORCHVISION_OPSET = (
    17  # the newest that torchvision's export, which needs the older exporter, is tested with
)


class Artifacts:
    """Makes what is missing in a folder of its own below `cache`.

    Args:
        detector: whose weights every file holds.
        photographs: uint8 [n, 3, H, W], of the frame that torchvision's file is pinned to; int8 is calibrated on them.
        cache: a folder.
        given: our files by precision, taken as they are.
    """

    def __init__(
        self,
        detector: Detector,
        photographs: NDArray[np.uint8],
        cache: Path,
        given: dict[str, Path],
    ) -> None:
        self._detector, self._photographs, self._given = detector, photographs, given
        self._folder = cache / f"{weights_digest(detector)}-{_code_digest()}"
        self._folder.mkdir(parents=True, exist_ok=True)

    def path(self, kind: str) -> Path:
        """The file of a contender (`contender.MAKERS`)."""
        if kind in self._given:
            return self._given[kind]
        makers = {
            "eager": self._torchvision,
            "compiled": self._torchvision,
            "float32": self._float32,
            "int8": self._int8,
        }
        return makers.get(kind, self._torchvision_onnx)()

    def _torchvision(self) -> Path:
        path = self._folder / "torchvision.pt"
        if not path.exists():
            torch.save(torchvision_twin(self._detector), path)
        return path

    def _torchvision_onnx(self) -> Path:
        path = self._folder / "torchvision.onnx"
        if not path.exists():
            picture = torch.from_numpy(self._photographs[0]).float() / 255
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the exporter's own
                torch.onnx.export(
                    torchvision_twin(self._detector),
                    ([picture],),
                    str(path),
                    dynamo=False,
                    opset_version=TORCHVISION_OPSET,
                    input_names=["image"],
                    output_names=["boxes", "labels", "scores"],
                )
        return path

    def _float32(self) -> Path:
        path = self._folder / "float32.onnx"
        if not path.exists():
            onnx.save(trace(self._detector), path)
        return path

    def _int8(self) -> Path:
        path = self._folder / "int8.onnx"
        if not path.exists():
            size = np.array([self._photographs.shape[2:]])
            feeds = [{"images": picture[None], "sizes": size} for picture in self._photographs]
            model = onnx.load(self.path("float32"))
            onnx.save(Quantizer(model, feeds).quantised(), path)
        return path


def _code_digest() -> str:
    digest = hashlib.sha256()
    for package in ("model", "export", "benchmarks"):
        for path in sorted((ROOT / package).rglob("*.py")):
            digest.update(path.read_bytes())
    for library in ("torch", "torchvision", "onnxruntime"):
        digest.update(version(library).encode())
    return digest.hexdigest()[:12]
