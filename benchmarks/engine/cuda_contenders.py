"""On a GPU: our ONNX files in ONNX Runtime's CUDA provider, and torchvision's detector in PyTorch.

Both begin with uint8 photographs in the host's memory, and end with detections there.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.engine.contender import Photographs
from benchmarks.engine.onnx_contenders import Feed, Ours
from benchmarks.engine.torch_contenders import Eager, Results
from service.engine.buffers import LEAST_REGIONS
from service.engine.providers import GpuOptions
from service.engine.session import CpuOptions, open_session


class OursOnCuda(Ours):
    """A session on CUDA with the service's own options."""

    def __init__(self, model: Path, threads: int) -> None:
        self._session = open_session(model, "cuda", CpuOptions(threads), GpuOptions())

    def prepared(self, photographs: Photographs) -> Feed:
        """All of `photographs`, with as many regions as this ONNX Runtime must have."""
        regions = np.zeros((len(photographs), LEAST_REGIONS, 4), np.float32)
        return super().prepared(photographs) | {"regions": regions}


class EagerOnCuda(Eager):
    """torchvision's detector in float32, without TF32, as ours."""

    dtype = torch.float32

    def __init__(self, model: Path, threads: int) -> None:
        super().__init__(model, threads)
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
        self._detector = self._detector.to("cuda")

    def prepared(self, photographs: Photographs) -> list[Tensor]:
        """The photographs as they are, uint8 on the host."""
        return list(torch.from_numpy(photographs))

    def run(self, inputs: list[Tensor]) -> Results:
        """The detections of each image, on the host."""
        half = self.dtype is torch.float16
        with torch.inference_mode(), torch.autocast("cuda", self.dtype, enabled=half):
            images = [image.to("cuda", non_blocking=True).float() / 255 for image in inputs]
            results: Results = self._detector(images)
        return [{name: value.cpu() for name, value in each.items()} for each in results]


class EagerHalfOnCuda(EagerOnCuda):
    """The same in float16, as PyTorch's autocast chooses it."""

    dtype = torch.float16
