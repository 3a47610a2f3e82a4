r"""`python -m benchmarks.backbones`: which backbone? The same short schedule on each, scored and timed, as one table.

    python -m benchmarks.backbones bccd=CONFIG.toml aquarium=OTHER.toml \
        --backbones mobilenet_v2=MOBILENET.pth timm:tf_efficientnet_lite0=LITE0.pth --seeds 0 1 --markdown table.md

A row is a backbone with its weights on one data set's configuration: the mean and the range of AP over the seeds, the
seconds a trained image took, and the milliseconds that the exported file takes for a 4:3 photograph in ONNX Runtime,
every layer in int8 where it is int8. A run that was interrupted goes on, one that is finished is not done again.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import onnx
import torch

from benchmarks.engine.summary import table
from benchmarks.machine import this_machine
from export.graph import feed, trace
from export.precision.quantise import Quantizer
from export.runtime import onnxruntime
from model.command_line import exit_status, output_file, output_folder, positive, write_output
from model.config.files import load_config
from model.data.coco import CocoDataset
from model.data.transforms import frame_file
from model.errors import Refused
from model.network.checkpoint import load_detector
from model.training.precision import precision_for
from model.training.run import Run

# Photographs that int8 is calibrated on, and runs of a file after one that warms up.
CALIBRATED, TIMED = 32, 9
HEADS = ("data", "backbone", "AP", "range", "s a trained image", "float32, ms", "int8, ms")


class Trained(NamedTuple):
    """What one run came to: its AP, the median seconds an image, its folder."""

    ap: float
    seconds: float
    folder: Path


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 0, or 2 after one line that says what was wrong."""
    interrupted = "interrupted; the same command goes on from here"
    return exit_status(_parser(), arguments, _compare, interrupted=interrupted)


def _compare(options: argparse.Namespace) -> None:
    rows = []
    for data, config in options.data:
        for backbone, weights in options.backbones:
            runs = [
                _trained(Path(config), (data, backbone, weights, seed), options)
                for seed in options.seeds
            ]
            scores = [100 * run.ap for run in runs]
            seconds = statistics.median(run.seconds for run in runs)
            float32, int8 = _milliseconds(runs[0].folder, Path(config), options.threads)
            rows.append(
                [
                    data,
                    backbone,
                    f"{statistics.mean(scores):.1f}",
                    f"{min(scores):.1f} to {max(scores):.1f}",
                    f"{seconds:.3f}",
                    f"{float32:.1f}",
                    f"{int8:.1f}",
                ]
            )
            text = f"{this_machine()}; seeds {options.seeds}.\n\n{table(HEADS, rows)}"
            print(text, flush=True)
            if options.markdown:  # a table that is stopped leaves these rows
                write_output(options.markdown, text + "\n")


def _trained(path: Path, what: tuple[str, str, str, int], options: argparse.Namespace) -> Trained:
    data, backbone, weights, seed = what
    config = load_config(
        path,
        (
            f"model.backbone.name={json.dumps(backbone)}",
            f"model.backbone.weights={json.dumps(weights)}",
            f"seed={seed}",
            *options.set,
        ),
    )
    if config.data.val_annotations is None:
        raise Refused(f"{path}: expected val_annotations, without which there is no AP")
    folder = options.runs / data / f"{backbone.replace(':', '-')}-{seed}"
    again = (folder / "last.pt").exists()
    run = Run(config, folder, "cpu", precision_for(config.precision, "cpu"), again)
    run.execute()
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    rates = [line["images_per_s"] for line in lines if "images_per_s" in line]
    [*_, ap] = [line["AP"] for line in lines if "AP" in line]
    return Trained(ap, 1 / statistics.median(rates), folder)


def _milliseconds(folder: Path, config: Path, threads: int) -> tuple[float, float]:
    """Of the run's last detector in float32 and in int8, taking turns, on the first validation photograph."""
    detector = load_detector(folder / "model.pt")
    data = load_config(config).data
    assert data.val_annotations is not None
    assert data.val_images is not None
    photographs = CocoDataset.read(data.root / data.val_annotations, data.root / data.val_images)
    feeds = []
    for index in range(min(CALIBRATED, len(photographs))):
        frame, size = frame_file(photographs.records[index].path, detector.config.resize)
        feeds.append(feed(frame[None], torch.tensor([size])))
    model = trace(detector)
    models = [model, Quantizer(model, feeds).quantised()]
    sessions = [_session(each, threads) for each in models]
    seconds: list[list[float]] = [[], []]
    for _ in range(TIMED + 1):
        for place, session in enumerate(sessions):
            started = time.perf_counter()
            session.run(None, feeds[0])
            seconds[place].append(time.perf_counter() - started)
    return (
        1000 * statistics.median(islice(seconds[0], 1, None)),
        1000 * statistics.median(islice(seconds[1], 1, None)),
    )


def _session(model: onnx.ModelProto, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def _pair(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    if not name or not value:
        raise argparse.ArgumentTypeError(f"expected NAME=FILE, got {text!r}")
    return name, value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.backbones", description="The same short schedule on each backbone."
    )
    parser.add_argument("data", type=_pair, nargs="+", metavar="NAME=CONFIG", help="of a run on it")
    parser.add_argument(
        "--backbones", type=_pair, nargs="+", required=True, metavar="NAME=WEIGHTS",
        help="model.backbone.name and .weights, e.g. mobilenet_v2=hub",
    )  # fmt: skip
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--threads", type=positive, default=2, help="of ONNX Runtime (default: 2)")
    parser.add_argument("--runs", type=output_folder, default=Path("runs/backbones"))
    parser.add_argument("--markdown", type=output_file, metavar="FILE")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    return parser


if __name__ == "__main__":
    sys.exit(main())
