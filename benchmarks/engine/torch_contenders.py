"""torchvision's detector in PyTorch: as it is, and through torch.compile."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.engine.contender import Photographs, torchvision_found

Results = list[dict[str, Tensor]]


class Eager:
    """A torchvision detector, saved whole by artifacts.py.

    Args:
        model: that file.
        threads: of PyTorch.
    """

    def __init__(self, model: Path, threads: int) -> None:
        torch.set_num_threads(threads)
        self._detector: Any = torch.load(model, weights_only=False)

    def prepared(self, photographs: Photographs) -> list[Tensor]:
        """A list of float32 images in 0..1, as torchvision's detectors want them."""
        return list(torch.from_numpy(photographs).float() / 255)

    def run(self, inputs: list[Tensor]) -> Results:
        """The detections of each image."""
        with torch.inference_mode():
            results: Results = self._detector(inputs)
        return results

    def found(self, results: Results) -> dict[str, list[Any]]:
        """Of the first image."""
        first = results[0]
        return torchvision_found(first["boxes"], first["labels"], first["scores"])


class Compiled(Eager):
    """The same through torch.compile with its defaults; the first runs compile."""

    def __init__(self, model: Path, threads: int) -> None:
        super().__init__(model, threads)
        self._detector = torch.compile(self._detector)

    def run(self, inputs: list[Tensor]) -> Results:
        """The same; under `no_grad`, as torch.compile recompiles less under it."""
        with torch.no_grad():
            results: Results = self._detector(inputs)
        return results
