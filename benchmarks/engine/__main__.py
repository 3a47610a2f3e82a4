"""`python -m benchmarks.engine`: this detector against torchvision's, in every runtime that is here, in one run.

Same weights, same photographs, the same number of threads. Every contender is a process of its own; they take turns,
one each a round, so that what disturbs the machine disturbs them all. Each first turn at a batch size is a
warm-up. Time is from ready-made inputs to results. Larger batches are for those that can: torchvision's ONNX is pinned
to one image. float16 is for GPUs: on a CPU ONNX Runtime has no convolution for it, so it is not measured here.
"""

import argparse
import os
import sys
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from torchvision.models.detection import FasterRCNN

from benchmarks.engine.artifacts import Artifacts
from benchmarks.engine.contender import MAKERS, Photographs
from benchmarks.engine.networks import (
    DEFAULT_FRAME,
    RESNET50_FRAME,
    default_detector,
    seeded_resnet50,
    torchvision_mobilenet,
)
from benchmarks.engine.photographs import MOST, photographs
from benchmarks.engine.processes import Child, ContenderFailed
from benchmarks.engine.summary import NAMES, Measured, speed_table
from benchmarks.machine import this_machine
from model.command_line import output_file, positive, write_output
from model.network.detector import Detector

BATCHED = ("eager", "float32", "int8")
WARM_UPS = {"compiled": 4}  # it compiles anew for the second and third run, for sizes that change


def main(arguments: list[str] | None = None) -> int:
    """The exit status."""
    options = _parser().parse_args(arguments)
    frame = RESNET50_FRAME if options.model == "resnet50" else DEFAULT_FRAME
    images = photographs(frame)
    detector, theirs = _network(options.model, images)
    given = {k: v for k in ("float32", "int8") if (v := vars(options)[k]) is not None}
    with TemporaryDirectory() as folder:
        artifacts = Artifacts(detector, images, Path(folder), given, theirs)
        results = _measured(options, artifacts, images)
    text = f"{_conditions(options, detector, frame)}\n\n{speed_table(results)}"
    print(text)
    if options.markdown:
        write_output(options.markdown, text + "\n")
    return 0


def _network(name: str, images: Photographs) -> tuple[Detector, FasterRCNN | None]:
    """Ours, and torchvision's where that came first."""
    if name == "mobilenetv3":
        return torchvision_mobilenet(images)
    return (seeded_resnet50(images[0]) if name == "resnet50" else default_detector()), None


def _measured(
    options: argparse.Namespace, artifacts: Artifacts, images: Photographs
) -> dict[str, Measured]:
    results = {kind: Measured() for kind in options.contenders}
    with ExitStack() as stack, TemporaryDirectory() as folder:
        path = Path(folder) / "photographs.npy"
        np.save(path, images)
        children = {}
        for kind, measured in results.items():
            _tell(f"{kind}: loading")
            model = artifacts.path(kind)
            try:
                child = Child(kind, model, path, options.threads, options.limit_s)
                children[kind] = stack.enter_context(child)
            except ContenderFailed as failure:
                measured.failed = str(failure)
        for batch in sorted(options.batches):
            able = {k: c for k, c in children.items() if batch == 1 or k in BATCHED}
            _race(able, results, batch, options.rounds)
        for kind in [kind for kind in children if not results[kind].failed]:
            measured, child = results[kind], children[kind]
            try:
                measured.found = child.ask("found")
            except ContenderFailed as failure:
                measured.failed = str(failure)
    return results


def _race(
    children: dict[str, Child], results: dict[str, Measured], batch: int, rounds: int
) -> None:
    """Warm up and take turns; who fails is out."""
    running = dict(children)
    for turn in range(-1, rounds):
        _tell(f"batch {batch}: {'warm-up' if turn < 0 else f'round {turn + 1} of {rounds}'}")
        for kind, child in list(running.items()):
            measured = results[kind]
            try:
                if turn < 0:
                    for _ in range(WARM_UPS.get(kind, 1)):
                        child.ask("run", batch=batch)
                    continue
                seconds = child.ask("run", batch=batch)["seconds"]
                measured.seconds.setdefault(batch, []).append(seconds)
                measured.peak_bytes[batch] = child.ask("peak")["bytes"]
                _tell(f"  {NAMES[kind]}: {seconds:.3f} s")  # a run that is stopped leaves these
            except ContenderFailed as failure:
                measured.failed = str(failure)
                del running[kind]


def _conditions(options: argparse.Namespace, detector: Detector, frame: tuple[int, int]) -> str:
    libraries = ", ".join(
        f"{name} {version(name)}" for name in ("torch", "torchvision", "onnxruntime")
    )
    return (
        f"`--model {options.model}`: {detector.config.backbone.name}, frame {frame[0]} x {frame[1]}, up to {MOST}"
        f" photographs, {options.rounds} rounds, {options.threads} threads; {this_machine()}; {libraries}."
    )


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.engine",
        description="The detector against torchvision's, in one run: time, memory, detections.",
    )
    parser.add_argument(
        "--model", choices=["resnet50", "default", "mobilenetv3"], default="default"
    )
    parser.add_argument(
        "--batches", type=int, nargs="+", choices=range(1, MOST + 1), default=[1, 4, 8], metavar="N"
    )
    parser.add_argument(
        "--rounds", type=positive, default=7, help="at every batch size (default: 7)"
    )
    parser.add_argument("--contenders", nargs="+", choices=list(MAKERS), default=list(MAKERS))
    parser.add_argument("--float32", type=Path, metavar="FILE", help="our artifact, else exported")
    parser.add_argument("--int8", type=Path, metavar="FILE", help="our artifact, else exported")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument(
        "--limit-s", type=float, default=300.0, help="the longest one run may take (default: 300)"
    )
    parser.add_argument(
        "--markdown", type=output_file, metavar="FILE", help="also write the tables there"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
