"""What tiles find in large photographs that the whole does not, on photographs laid side by side.

    python -m benchmarks.tiles MODEL JSON IMAGES OUT [--grid 3] [--seed 0]

lays GRID x GRID photographs of a data set in one, keeps them in OUT with a COCO json, and scores the model with tiles
and without. sahi_peer.py beside this file does the same with SAHI; `python -m benchmarks.accuracy` scores its results.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.machine import this_machine
from model.command_line import exit_status, positive
from model.data.coco import CocoDataset
from model.evaluation.detection_metrics import coco_metrics
from service.detections import Detected, Wanted
from service.engine.engine import Engine
from service.formats import coco_results
from service.merging import detected_in
from service.offline.ids import Ids
from service.pictures.decoding import prepare_pillow
from service.pictures.framing import Framing
from service.pictures.tiling import Tiles, load_shots

PROGRAM = "python -m benchmarks.tiles"
FIGURES = ("AP", "AP50", "APs", "APm", "APl")
MAX_PIXELS = 10**9
GRAY = (114, 114, 114)


@dataclass(frozen=True)
class Cell:
    """Where a photograph lies in a mosaic."""

    record: dict[str, Any]
    left: int
    top: int


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status."""
    return exit_status(_parser(), arguments, _measure)


def _measure(options: argparse.Namespace) -> None:
    prepare_pillow()
    path = make_mosaics(options.annotations, options.images, options.out, options)
    dataset = CocoDataset.read(path, options.out)
    engine, ids = Engine(options.model, "cpu", options.threads), Ids(path)
    print(f"{this_machine()}\n{dataset.inventory}\n")
    print("| | " + " | ".join(FIGURES) + " | seconds an image |\n|---|" + "---|" * 6)
    asked: tuple[Tiles, ...] = ("off", "auto")
    for tiles in asked:
        began, results = perf_counter(), []
        for image_id, found in detections(engine, dataset, tiles):
            labels = [each.label for each in found.detections]
            results += ids.results(coco_results(found, image_id), labels)
        seconds = (perf_counter() - began) / len(dataset)
        figures = coco_metrics(dataset.ground_truth, results).as_json()
        shown = [figures[name] for name in FIGURES]
        # None where there is nothing of that size.
        row = " | ".join("-" if each is None else f"{100 * each:.1f}" for each in shown)
        print(f"| tiles={tiles} | {row} | {seconds:.2f} |", flush=True)


def detections(
    engine: Engine, dataset: CocoDataset, tiles: Tiles
) -> Iterator[tuple[int, Detected]]:
    """What the service's own code finds in each image, with all of its least scores."""
    manifest = engine.manifest
    framing = Framing(manifest.resize, manifest.buckets, MAX_PIXELS)
    wanted = Wanted((0.0,) * len(manifest.classes), None, None, 0, ())
    for record in dataset.records:
        shots = load_shots(record.path.read_bytes(), framing, tiles)
        outputs = [engine.run([s.frame.pixels], [s.frame.content])[0] for s in shots]
        yield (
            record.image_id,
            detected_in(list(zip(shots, outputs, strict=True)), manifest, wanted, 0),
        )


def make_mosaics(annotations: Path, images: Path, out: Path, options: argparse.Namespace) -> Path:
    """The COCO json of mosaics that lie beside it in `out`."""
    truth = json.loads(annotations.read_text(encoding="utf-8"))
    boxes: dict[int, list[dict[str, Any]]] = {}
    for each in truth["annotations"]:
        boxes.setdefault(each["image_id"], []).append(each)
    out.mkdir(parents=True, exist_ok=True)
    order = np.random.default_rng(options.seed).permutation(len(truth["images"]))
    taken = options.grid**2
    made: list[dict[str, Any]] = []
    moved: list[dict[str, Any]] = []
    for number in range(min(options.most, len(order) // taken)):
        records = [truth["images"][i] for i in order[number * taken : (number + 1) * taken]]
        size, cells = _laid(records, options.grid)
        name = f"{number + 1:04}.jpg"
        _pasted(size, cells, images).save(out / name, quality=92)
        image = {"id": number + 1, "file_name": name, "width": size[0], "height": size[1]}
        made.append(image)
        for cell in cells:
            for each in boxes.get(cell.record["id"], []):
                x, y, width, height = each["bbox"]
                bbox = [x + cell.left, y + cell.top, width, height]
                place = {"id": len(moved) + 1, "image_id": image["id"], "bbox": bbox}
                moved.append({**each, **place})
    path = out / "all.json"
    document = {"images": made, "annotations": moved, "categories": truth["categories"]}
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def _laid(records: Sequence[dict[str, Any]], grid: int) -> tuple[tuple[int, int], list[Cell]]:
    """(width, height) of the mosaic, and the cells of the photographs."""
    width, height = (max(each[side] for each in records) for side in ("width", "height"))
    cells = [
        Cell(record, (place % grid) * width, (place // grid) * height)
        for place, record in enumerate(records)
    ]
    return (grid * width, grid * height), cells


def _pasted(size: tuple[int, int], cells: Sequence[Cell], images: Path) -> Image.Image:
    mosaic = Image.new("RGB", size, GRAY)
    for cell in cells:
        with Image.open(images / cell.record["file_name"]) as photograph:
            mosaic.paste(photograph.convert("RGB"), (cell.left, cell.top))
    return mosaic


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=PROGRAM, description="Tiles against the whole.")
    parser.add_argument("model", type=Path, help="an ONNX file that fpn-export wrote")
    parser.add_argument("annotations", type=Path, help="a COCO json of the model's categories")
    parser.add_argument("images", type=Path, help="the folder of its images")
    parser.add_argument("out", type=Path, help="a folder for the mosaics")
    parser.add_argument("--grid", type=positive, default=3, help="photographs a side")
    parser.add_argument("--seed", type=int, default=0, help="which photographs come together")
    parser.add_argument("--most", type=positive, default=10_000, help="mosaics")
    parser.add_argument("--threads", type=int, default=0, help="0: all cores")
    return parser


if __name__ == "__main__":
    sys.exit(main())
