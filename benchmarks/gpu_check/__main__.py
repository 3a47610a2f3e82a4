"""`make gpu-check`: whether this host's GPU is used, rightly, and how fast; one page and one JSON.

Driver, provider, placement of the operators, golden photographs, the GPU beside the CPU on real photographs, batches in
float32 and float16 beside torchvision's eager detector in the same run, memory, and what the whole server answers.
On a host without a GPU it runs on the CPU what can be run there, and says what it skipped.

The exit status is 1 when a part failed, 0 otherwise.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from benchmarks.engine.networks import DEFAULT_CHECKPOINT
from benchmarks.gpu_check import answers, host
from benchmarks.gpu_check.parts import Finding, Part, tried
from benchmarks.gpu_check.served import served
from benchmarks.gpu_check.speed import FRAMES, Effort, speed
from benchmarks.machine import this_machine
from benchmarks.server.photographs import photographs
from model.command_line import positive
from service.engine.runtime import ort

DEFAULT_MODEL = DEFAULT_CHECKPOINT.parent / "model.onnx"
LIBRARIES = ("torch", "torchvision")


def main(arguments: list[str] | None = None) -> int:
    """The exit status."""
    options = _parser().parse_args(arguments)
    done = []
    for name, find in _parts(options).items():
        part = tried(name, find)
        print(part.line(), flush=True)
        done.append(part)
    options.out.mkdir(parents=True, exist_ok=True)
    page, figures = options.out / "gpu-check.md", options.out / "gpu-check.json"
    page.write_text(_page(done), encoding="utf-8")
    figures.write_text(json.dumps(_figures(done), indent=1), encoding="utf-8")
    print(f"{page}, {figures}")
    return int(any(part.state == "FAILED" for part in done))


def _parts(options: argparse.Namespace) -> dict[str, Callable[[], Finding]]:
    """Name -> what finds it, in order."""
    files = photographs(options.images)
    model = options.float32 or DEFAULT_MODEL
    given = {"float32": model} | ({"float16": options.float16} if options.float16 else {})
    effort = Effort(tuple(sorted(options.batches)), options.rounds, options.threads)
    parts: dict[str, Callable[[], Finding]] = {
        "driver": host.driver,
        "provider": host.provider,
        "placement": lambda: host.placement(model),
        "golden photographs": lambda: answers.golden(model),
        "CPU against GPU": lambda: answers.cpu_against_gpu(model, model, files),
    }
    if options.float16:
        half = options.float16
        parts["placement in float16"] = lambda: host.placement(half)
        parts["CPU against GPU in float16"] = lambda: answers.cpu_against_gpu(model, half, files)
    for network in options.networks:
        own = given if network == "default" else {}
        parts[f"speed of {network}"] = lambda n=network, g=own: speed(n, g, effort)  # type: ignore[misc]
    parts["served"] = lambda: served(options.float16 or model, files, options.seconds)
    return parts


def _conditions() -> str:
    libraries = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    runtime = f"onnxruntime {ort.__version__}"
    return f"{datetime.now(UTC):%Y-%m-%d}; {this_machine()}; {runtime}, {libraries}."


def _page(parts: list[Part]) -> str:
    summary = "\n".join(f"* {part.name}: {part.state}" for part in parts)
    sections = "\n".join(part.section() for part in parts)
    return f"# GPU check\n\n{_conditions()}\n\n{summary}\n\n{sections}"


def _figures(parts: list[Part]) -> dict[str, object]:
    return {
        "conditions": _conditions(),
        "device": host.device(),
        "parts": [part.values() for part in parts],
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m benchmarks.gpu_check", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/gpu-check"), metavar="FOLDER")
    parser.add_argument("--float32", type=Path, metavar="FILE", help="ours, else the default model")
    parser.add_argument("--float16", type=Path, metavar="FILE", help="ours, as fpn-export wrote it")
    parser.add_argument("--images", type=Path, help="a folder of JPEGs, else scikit-image's")
    parser.add_argument("--networks", nargs="*", choices=list(FRAMES), default=list(FRAMES))
    parser.add_argument(
        "--batches", type=positive, nargs="+", default=[1, 2, 4, 8, 16, 32], metavar="N"
    )
    parser.add_argument("--rounds", type=positive, default=5, help="at every batch size")
    parser.add_argument("--threads", type=positive, default=os.cpu_count())
    parser.add_argument("--seconds", type=float, default=20.0, help="of the served load")
    return parser


if __name__ == "__main__":
    sys.exit(main())
