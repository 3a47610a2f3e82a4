"""One contender in a process of its own: `python -m benchmarks.engine.contender KIND MODEL PHOTOGRAPHS THREADS`.

Alone, its peak memory is its own, and no other runtime's threads or caches touch it. It reads requests and writes
answers, one JSON object a line:

    {"do": "run", "batch": n}      {"seconds": s}: the median of a turn; ready-made inputs of n photographs to results
    {"do": "found"}                {"boxes": [...], "labels": [...], "scores": [...]} of the first photograph
    {"do": "peak"}                 {"bytes": n}: the most memory that it ever held
"""

import importlib
import json
import os
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

# Imported by name: a contender must not carry the libraries of the others.
MAKERS = {
    "eager": "benchmarks.engine.torch_contenders:Eager",
    "compiled": "benchmarks.engine.torch_contenders:Compiled",
    "torchvision-onnx": "benchmarks.engine.onnx_contenders:TorchvisionOnnx",
    "openvino": "benchmarks.engine.openvino_contenders:OpenVino",
    "openvino-bfloat16": "benchmarks.engine.openvino_contenders:OpenVinoBfloat16",
    "float32": "benchmarks.engine.onnx_contenders:Ours",
    "int8": "benchmarks.engine.onnx_contenders:Ours",
}
# On a GPU; benchmarks/gpu_check has them.
CUDA_MAKERS = {
    "cuda-eager": "benchmarks.engine.cuda_contenders:EagerOnCuda",
    "cuda-eager-float16": "benchmarks.engine.cuda_contenders:EagerHalfOnCuda",
    "cuda-float32": "benchmarks.engine.cuda_contenders:OursOnCuda",
    "cuda-float16": "benchmarks.engine.cuda_contenders:OursOnCuda",
}

# The threads of the contender before spin for a while after its last run, and would take a core from this one.
SETTLE_S = 0.3
TURN_S = 0.5  # a turn is one run, or as many as fit

Photographs = NDArray[np.uint8]  # [n, 3, H, W] RGB


class Contender(Protocol):
    """A runtime with its model loaded."""

    def prepared(self, photographs: Photographs) -> Any:
        """The inputs that `run` takes."""

    def run(self, inputs: Any) -> Any:
        """The results of `inputs`."""

    def found(self, results: Any) -> dict[str, list[Any]]:
        """Boxes, 0-based labels and scores of the first photograph, from `results` of `run`."""


def torchvision_found(boxes: Any, labels: Any, scores: Any) -> dict[str, list[Any]]:
    """Arrays or tensors that torchvision's detector gives, as `found` does: its label 0 is the background."""
    return {"boxes": boxes.tolist(), "labels": (labels - 1).tolist(), "scores": scores.tolist()}


def main() -> int:
    """Answer requests until there are no more."""
    kind, model, photographs, threads = sys.argv[1:]
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print is no answer
    module, _, name = (MAKERS | CUDA_MAKERS)[kind].partition(":")
    contender: Contender = getattr(importlib.import_module(module), name)(Path(model), int(threads))
    images = np.load(photographs)
    print(json.dumps({"ready": True}), file=answers)
    for line in sys.stdin:
        print(json.dumps(_answer(contender, images, json.loads(line))), file=answers)
    return 0


def _answer(
    contender: Contender, photographs: Photographs, request: dict[str, Any]
) -> dict[str, Any]:
    if request["do"] == "peak":
        return {"bytes": _peak_bytes()}
    inputs = contender.prepared(photographs[: request.get("batch", 1)])
    if request["do"] == "found":
        return contender.found(contender.run(inputs))
    time.sleep(SETTLE_S)
    seconds: list[float] = []
    while sum(seconds) < TURN_S:
        start = time.perf_counter()
        contender.run(inputs)
        seconds.append(time.perf_counter() - start)
    return {"seconds": median(seconds)}


def _peak_bytes() -> int:
    """`getrusage` would include what the parent held when it started this process."""
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    sys.exit(main())
