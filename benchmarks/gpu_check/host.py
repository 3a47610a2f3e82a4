"""The GPU's driver, whether ONNX Runtime can use it, and what of the model it leaves to the CPU."""

import shutil
import subprocess
from pathlib import Path

from benchmarks.gpu_check.parts import Finding, Skipped
from service.engine.engine import Engine
from service.engine.placement import HEAVY
from service.engine.providers import CPU, CUDA
from service.engine.runtime import ort

ASKED = ("name", "driver_version", "memory.total", "memory.used", "compute_cap", "power.limit")
QUERY = ["nvidia-smi", f"--query-gpu={','.join(ASKED)}", "--format=csv,noheader,nounits"]
NO_DRIVER = "no nvidia-smi: this host has no NVIDIA driver, or the container was not given the GPU"


def driver() -> Finding:
    """What the driver says of the first GPU."""
    values = asked_of_driver()
    said = (
        f"{values['name']}, {float(values['memory.total']) / 1024:.0f} GiB, compute capability {values['compute_cap']},"
        f" driver {values['driver_version']}"
    )
    return Finding(said, figures=dict(values))


def asked_of_driver() -> dict[str, str]:
    """ASKED of the first GPU. Raises Skipped where there is no driver."""
    if shutil.which(QUERY[0]) is None:
        raise Skipped(NO_DRIVER)
    done = subprocess.run(QUERY, capture_output=True, text=True)
    if done.returncode != 0:
        raise Skipped(f"nvidia-smi: {(done.stdout + done.stderr).strip().splitlines()[0]}")
    return first_gpu(done.stdout)


def first_gpu(printed: str) -> dict[str, str]:
    """The values of the first line that nvidia-smi printed."""
    values = [value.strip() for value in printed.strip().splitlines()[0].split(",")]
    return dict(zip(ASKED, values, strict=True))


def gpu_memory_bytes() -> int:
    """What all processes hold of the first GPU's memory; 0 without a driver."""
    try:
        return int(float(asked_of_driver()["memory.used"]) * 2**20)
    except Skipped:
        return 0


def provider() -> Finding:
    """What ONNX Runtime was built with."""
    built_in = ort.get_available_providers()
    if CUDA not in built_in:
        raise Skipped(
            f"onnxruntime {ort.__version__} has only {', '.join(built_in)}: pip install '.[gpu]' in place of '.[cpu]'"
        )
    said = f"onnxruntime {ort.__version__}, built for CUDA {ort.cuda_version}"
    return Finding(said, figures={"onnxruntime": ort.__version__, "cuda": ort.cuda_version})


def device() -> str:
    """What the parts behind run on: cuda where driver and provider are there, whether or not it works; else cpu."""
    return "cuda" if CUDA in ort.get_available_providers() and shutil.which(QUERY[0]) else "cpu"


def placement(model: Path) -> Finding:
    """Where the operators of `model` run; the engine itself refuses heavy ones on the CPU of a GPU host."""
    engine = Engine(model, "cuda" if device() == "cuda" else "cpu", 0)
    counts = engine.placement
    rows = [
        [operator, *(str(nodes.get(operator, 0)) for nodes in counts.values())]
        for operator in sorted(set().union(*counts.values()))
        if operator in HEAVY or any(provider != CPU for provider in counts)
    ]
    total = sum(sum(nodes.values()) for nodes in counts.values())
    where = ", ".join(f"{sum(nodes.values())} on {name}" for name, nodes in counts.items())
    said = f"{total} nodes: {where}"
    if device() == "cpu":
        said += "; there is no GPU that heavy ones could be kept from"
    return Finding(said, ["operator", *counts], rows, {"placement": counts})
