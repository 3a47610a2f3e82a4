"""The COCO metrics of an exported model as it is served.

    python -m benchmarks.accuracy MODEL JSON IMAGES [--batch-size 8] [--runtime openvino] [--json OUT]
    python -m benchmarks.accuracy RESULTS JSON IMAGES

Every photograph goes from its file's bytes to boxes through the service's own code: decoding, the resize rule, the
bucket, the engine, and the way back to the photograph. Only the HTTP around them is left out, and with it the rounding
of an answer's boxes to hundredths of a pixel. Photographs of one bucket run together, which changes no answer.
`fpn-eval` gives the same figures of the checkpoint, in PyTorch; for a float32 model they agree to within 0.2 points of
AP. Another runtime stands in for the engine with --runtime: one file is to answer alike in each. Instead of a model, a
file of COCO's results is scored: what `fpn-detect --format coco --ids JSON` got from a server.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, Protocol, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from benchmarks.machine import this_machine
from benchmarks.openvino_engine import OpenVinoEngine
from model.command_line import exit_status, output_file, positive, write_output
from model.data.coco import CocoDataset, Record
from model.errors import Refused
from model.evaluation.detection_metrics import Metrics, coco_metrics, format_table
from model.evaluation.results import PhotoDetections, category_ids, detection_results
from service.artifact.manifest import Manifest
from service.artifact.tensors import Outputs
from service.detections import to_image
from service.engine.engine import Engine
from service.engine.providers import Device
from service.errors import ServiceError
from service.pictures.decoding import prepare_pillow
from service.pictures.framing import Frame, Framing, Size, load_frame
from service.settings import Settings

PROGRAM = "python -m benchmarks.accuracy"
MAX_PIXELS: int = Settings.model_fields["max_pixels"].default  # what a server takes


@dataclass(frozen=True)
class Framed:
    """An image of the data set and its frame."""

    record: Record
    frame: Frame


@dataclass(frozen=True)
class Served:
    """The metrics, and the seconds of an image: all of it, and the engine's part."""

    metrics: Metrics
    seconds: float
    engine_seconds: float

    def as_json(self) -> dict[str, Any]:
        """All figures as nested values fit for JSON, which has null for NaN."""
        times = {"seconds_per_image": self.seconds, "engine_seconds": self.engine_seconds}
        return self.metrics.as_json() | times


class Runner(Protocol):
    """What runs the model: the service's engine, or another runtime in its place."""

    @property
    def manifest(self) -> Manifest:
        """The model's."""

    @property
    def provider(self) -> str:
        """What computes."""

    def run(self, images: NDArray[np.uint8], sizes: NDArray[np.int64]) -> Outputs:
        """The outputs of a batch of frames."""


def served_metrics(engine: Runner, dataset: CocoDataset, batch_size: int) -> Served:
    """The metrics of the engine's model on the data set.

    Raises:
        Refused: no class in common, or the service refuses an image; the message names it.
    """
    categories = category_ids(engine.manifest.classes, dataset)
    results: list[dict[str, Any]] = []
    began, engine_s = perf_counter(), 0.0
    with tqdm(total=len(dataset), unit="image", leave=False) as bar:
        for batch in _batches(engine, dataset, batch_size):
            images = np.stack([each.frame.pixels for each in batch])
            sizes = np.array([each.frame.content for each in batch], np.int64)
            start = perf_counter()
            outputs = engine.run(images, sizes)
            engine_s += perf_counter() - start
            for index, each in enumerate(batch):
                found = _in_photograph(outputs[index], each.frame)
                results += detection_results(each.record.image_id, found, categories)
            bar.update(len(batch))
    seconds = perf_counter() - began
    metrics = coco_metrics(dataset.ground_truth, results)
    return Served(metrics, seconds / len(dataset), engine_s / len(dataset))


def _batches(engine: Runner, dataset: CocoDataset, most: int) -> Iterator[list[Framed]]:
    """The images in batches of one bucket; at most a batch of each bucket is in memory."""
    framing = Framing(engine.manifest.resize, engine.manifest.buckets, MAX_PIXELS)
    waiting: dict[Size, list[Framed]] = {bucket: [] for bucket in framing.buckets}
    for record in dataset.records:
        try:
            frame = load_frame(record.path.read_bytes(), framing)
        except ServiceError as error:
            raise Refused(f"{record.path}: the service refuses it: {error.detail}") from error
        waiting[frame.bucket].append(Framed(record, frame))
        if len(waiting[frame.bucket]) == most:
            yield waiting[frame.bucket]
            waiting[frame.bucket] = []
    yield from filter(None, waiting.values())


def _in_photograph(outputs: Outputs, frame: Frame) -> PhotoDetections:
    """One image's detections; `outputs` are its own, without N."""
    real = slice(int(outputs.counts))
    boxes = to_image(outputs.boxes[real], frame)
    return PhotoDetections(
        *map(torch.from_numpy, (boxes, outputs.scores[real], outputs.labels[real]))
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 0, or 2 after one line that says what was wrong."""
    return exit_status(_parser(), arguments, _score)


def _score(options: argparse.Namespace) -> None:
    if options.model.suffix == ".json":
        _score_results(options)
        return
    prepare_pillow()
    try:
        engine = _runner(options)
    except ServiceError as error:
        raise Refused(error.detail) from error
    dataset = CocoDataset.read(options.annotations, options.images)
    served = served_metrics(engine, dataset, options.batch_size)
    manifest = engine.manifest
    about = {
        "model": manifest.name,
        "version": manifest.version,
        "precision": manifest.precision,
        "provider": engine.provider,
        "images": len(dataset),
    }
    print(", ".join(f"{name} {value}" for name, value in about.items()))
    print(f"{this_machine()}\n{dataset.inventory}\n\n{format_table(served.metrics)}\n")
    print(f"{served.seconds:.3f} s an image, of which the engine {served.engine_seconds:.3f} s")
    if options.json:
        figures = about | {"machine": this_machine()} | served.as_json()
        write_output(options.json, json.dumps(figures, indent=2) + "\n")


def _score_results(options: argparse.Namespace) -> None:
    dataset = CocoDataset.read(options.annotations, options.images)
    try:
        results = json.loads(options.model.read_text(encoding="utf-8"))
        images = {each["image_id"] for each in results}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Refused(f"{options.model}: expected a file of COCO's results: {error}") from error
    try:
        metrics = coco_metrics(dataset.ground_truth, results)
    except ValueError as error:
        raise Refused(f"{options.model}: {options.annotations}: {error}") from error
    print(f"results {options.model}, images {len(images)} of {len(dataset)}")
    print(f"{dataset.inventory}\n\n{format_table(metrics)}")
    if options.json:
        write_output(options.json, json.dumps(metrics.as_json(), indent=2) + "\n")


def _runner(options: argparse.Namespace) -> Runner:
    if options.runtime == "openvino":
        return OpenVinoEngine(options.model, options.threads)
    return Engine(options.model, options.device, options.threads)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM, description="Score an exported model as it is served."
    )
    parser.add_argument(
        "model", type=Path, help="an ONNX file that fpn-export wrote, or COCO's results"
    )
    parser.add_argument("annotations", type=Path, help="a COCO json")
    parser.add_argument("images", type=Path, help="the folder of its images")
    parser.add_argument("--batch-size", type=positive, default=8, metavar="N")
    parser.add_argument("--device", default="auto", choices=get_args(Device))
    parser.add_argument("--runtime", default="onnxruntime", choices=["onnxruntime", "openvino"])
    parser.add_argument("--threads", type=int, default=0, metavar="N", help="0: all cores")
    parser.add_argument(
        "--json", type=output_file, metavar="OUT", help="write all figures to this file"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
