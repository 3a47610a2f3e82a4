"""Training throughput of this trainer beside torchvision's Faster R-CNN, in one run.

    python -m benchmarks.training [CONFIG] [--images DIR --annotations JSON] [--weights FILE] [--rounds N] [--profile]

Both train the network that CONFIG describes (pyramid, anchors, counts, head, first weights) on the same batches with
the same optimizer and precision, and take turns: a round times one step of each on one batch. torchvision's norms are
its `FrozenBatchNorm2d`; its batches are ours, already resized and of one orientation. Decoding is not timed. Without
photographs it makes images of the sizes that Pascal VOC's have.

Prints one JSON object: the machine, the seconds of every step, their medians, images a second and the ratio. With
--profile it prints, of each of the two, the operators that take most of a step.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.machine import this_machine
from benchmarks.training.images import drawn_batches, made_batches
from benchmarks.training.peer import Peer
from model.command_line import exit_status, positive
from model.config.files import load_config
from model.config.training import TrainConfig
from model.data.coco import CocoDataset
from model.network.detector import Detector
from model.training.batches import Batch
from model.training.precision import Precision, precision_for
from model.training.trainer import Trainer

PROGRAM = "python -m benchmarks.training"
CONFIG = Path("model/recipes/voc-mobilenetv2.toml")


class Training(Protocol):
    """What is timed."""

    def step(self, step: int, batches: Sequence[Batch]) -> object:
        """Train on `batches`."""


def main(arguments: list[str] | None = None) -> int:
    """The exit status: 0, or 2 after one line that says what was wrong."""
    return exit_status(_parser(), arguments, _compare)


def _compare(options: argparse.Namespace) -> None:
    settings = (f"model.backbone.weights={options.weights}", *options.set)
    config = load_config(options.config, settings)
    names: tuple[str, ...] = ("thing",)
    if options.images is None:
        batches = made_batches(config.schedule.batch_size, options.rounds)
    else:
        dataset = CocoDataset.read(options.annotations, options.images)
        names = dataset.class_names
        batches = drawn_batches(config, dataset, options.rounds)
    torch.manual_seed(config.seed)
    detector = Detector(config.model, names)
    # The peer copies the weights before the trainer changes them.
    precision = precision_for(config.precision, "cpu")
    peer = Peer(detector, config, precision)
    ours = Trainer(detector, config, precision)
    contestants: dict[str, Training] = {"ours": ours, "torchvision": peer}
    if options.profile:
        for name, training in contestants.items():
            print(f"{name}\n{_profiled(training, batches)}")
    else:
        print(json.dumps(_figures(config, precision, _timed(contestants, batches)), indent=2))


def _timed(contestants: dict[str, Training], batches: list[Batch]) -> dict[str, list[float]]:
    """The seconds of each step, in the order of `batches`; who begins changes from round to round."""
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for training in contestants.values():  # what is allocated and chosen once
        training.step(0, batches[:1])
        training.step(1, batches[-1:])
    for number, batch in enumerate(batches):
        names = list(contestants) if number % 2 else list(contestants)[::-1]
        for name in names:
            started = time.perf_counter()
            contestants[name].step(number + 2, [batch])
            seconds[name].append(time.perf_counter() - started)
    return seconds


def _figures(
    config: TrainConfig, precision: Precision, seconds: dict[str, list[float]]
) -> dict[str, object]:
    medians = {name: statistics.median(steps) for name, steps in seconds.items()}
    return {
        "config": config.name,
        "precision": str(precision),
        "machine": this_machine(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "seconds_of_steps": {n: [round(s, 3) for s in steps] for n, steps in seconds.items()},
        "median_s": {name: round(median, 3) for name, median in medians.items()},
        "images_per_s": {
            name: round(config.schedule.batch_size / median, 2) for name, median in medians.items()
        },
        "ratio": round(medians["torchvision"] / medians["ours"], 2),
    }


def _profiled(training: Training, batches: list[Batch]) -> str:
    """A table of the operators that take most of the time of three steps."""
    training.step(0, batches[:1])
    with profile(activities=[ProfilerActivity.CPU]) as record:
        for number, batch in enumerate(batches[:3], start=1):
            training.step(number, [batch])
    table: str = record.key_averages().table(sort_by="self_cpu_time_total", row_limit=20)
    return table


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=PROGRAM, description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("config", type=Path, nargs="?", default=CONFIG)
    parser.add_argument("--images", type=Path, help="a folder of photographs (default: made ones)")
    parser.add_argument("--annotations", type=Path, help="their COCO json")
    parser.add_argument("--weights", default="none", help="of the backbone (default: random)")
    parser.add_argument("--rounds", type=positive, default=9)
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    return parser


if __name__ == "__main__":
    sys.exit(main())
