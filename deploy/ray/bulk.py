"""Detections of millions of photographs, with Ray Data: each once, however often a node dies or the run is started.

    python -m deploy.ray.bulk s3://bucket/photographs s3://bucket/detections --gpus 1 --replicas 8

Photographs, sorted by path, are divided into parts; a part's Parquet file is written aside and renamed when it is
whole, under a name that its paths decide. So a part that Ray runs a second time, on another node, replaces itself, and
a run that is started again leaves out what is there. Paths are local or of any file system that fsspec knows (S3: pip
install s3fs).

A row: path, width, height, error (empty, or why the photograph could not be decoded), and lists of labels, scores and
boxes.
"""

import argparse
import hashlib
import json
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import ray

from service.detections import Detected, Wanted, detected, score_thresholds
from service.engine.engine import Engine
from service.engine.folder import model_file
from service.errors import ServiceError
from service.pictures.decoding import prepare_pillow
from service.pictures.framing import Frame, Framing, load_frame
from service.settings import Settings

DESCRIPTION = "Detections of millions of photographs, each once, as Parquet files."
ENDINGS = (".jpg", ".jpeg", ".png", ".webp")
SCHEMA = pa.schema(
    [
        ("path", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("error", pa.string()),
        ("labels", pa.list_(pa.string())),
        ("scores", pa.list_(pa.float32())),
        ("boxes", pa.list_(pa.list_(pa.float32(), 4))),
    ]
)
MOST_PIXELS = Settings.model_fields["max_pixels"].default


class Worker:
    """An actor with a loaded model, which makes whole parts."""

    def __init__(self, model: str, device: str, threads: int, batch: int) -> None:
        prepare_pillow()
        chosen: Any = device
        self._engine = Engine(model_file(Path(model), chosen), chosen, threads)
        manifest = self._engine.manifest
        self._framing = Framing(manifest.resize, manifest.buckets, MOST_PIXELS)
        self._wanted = Wanted(score_thresholds(None, manifest), None, None, 0, ())
        self._batch = batch

    def __call__(self, parts: dict[str, Any]) -> dict[str, Any]:
        """Makes the parts, and says how many photographs they had, and how many of them could not be decoded."""
        counts = [self._part(*each) for each in zip(parts["file"], parts["paths"], strict=True)]
        return {
            "file": list(parts["file"]),
            "photographs": [len(rows) for rows in counts],
            "failed": [sum(bool(row["error"]) for row in rows) for rows in counts],
        }

    def _part(self, file: str, paths: str) -> list[dict[str, Any]]:
        rows = [row for some in chunks(json.loads(paths), self._batch) for row in self._rows(some)]
        write_whole(file, pa.Table.from_pylist(rows, SCHEMA))
        return rows

    def _rows(self, paths: list[str]) -> list[dict[str, Any]]:
        rows: dict[str, dict[str, Any]] = {}
        frames: dict[tuple[int, int], list[tuple[str, Frame]]] = {}
        for path in paths:
            try:
                with fsspec.open(path, "rb") as file:
                    frame = load_frame(file.read(), self._framing)
            except ServiceError as error:
                rows[path] = {"path": path, "error": error.detail}
            else:
                frames.setdefault(frame.bucket, []).append((path, frame))
        for together in frames.values():
            outputs = self._engine.run(
                [frame.pixels for _, frame in together], [frame.content for _, frame in together]
            )
            for place, (path, frame) in enumerate(together):
                found = detected(outputs[place], frame, self._engine.manifest, self._wanted)
                rows[path] = row_of(path, found)
        return [rows[path] for path in paths]


def row_of(path: str, found: Detected) -> dict[str, Any]:
    """The row of a photograph."""
    return {
        "path": path,
        "width": found.width,
        "height": found.height,
        "error": "",
        "labels": [each.label for each in found.detections],
        "scores": [each.score for each in found.detections],
        "boxes": [list(each.box) for each in found.detections],
    }


def write_whole(file: str, table: pa.Table) -> None:
    """Writes a Parquet file that is there whole or not at all, whoever else writes the same."""
    system, path = fsspec.url_to_fs(file)
    aside = f"{path}.{uuid.uuid4().hex}.part"
    with system.open(aside, "wb") as target:
        pq.write_table(table, target)
    system.mv(aside, path)


def chunks(paths: list[str], size: int) -> Iterator[list[str]]:
    """`paths`, so many at a time."""
    for start in range(0, len(paths), size):
        yield paths[start : start + size]


def photographs(folder: str) -> list[str]:
    """The addresses of all photographs in a folder and those in it, sorted."""
    system, path = fsspec.url_to_fs(folder)
    found = (each for each in system.find(path) if each.lower().endswith(ENDINGS))
    return sorted(system.unstrip_protocol(each) for each in found)


def part_files(paths: list[str], folder: str, size: int) -> dict[str, list[str]]:
    """File -> the photographs of that part. Its name is a digest of their paths."""
    parts = {}
    for place, some in enumerate(chunks(paths, size)):
        digest = hashlib.sha256("\n".join(some).encode()).hexdigest()[:16]
        parts[f"{folder.rstrip('/')}/part-{place:06d}-{digest}.parquet"] = some
    return parts


def missing(parts: dict[str, list[str]], folder: str) -> dict[str, list[str]]:
    """Those of `parts` that are not in `folder` yet."""
    system, path = fsspec.url_to_fs(folder)
    system.makedirs(path, exist_ok=True)
    system.invalidate_cache()
    # A folder of S3 that holds nothing is not there.
    there = {each.rpartition("/")[2] for each in system.glob(f"{path}/part-*.parquet")}
    return {file: some for file, some in parts.items() if file.rpartition("/")[2] not in there}


def run(options: argparse.Namespace) -> tuple[int, int]:
    """How many photographs were done in this run, and how many of them could not be decoded."""
    parts = part_files(photographs(options.source), options.target, options.part)
    left = missing(parts, options.target)
    print(f"{len(parts)} parts, {len(parts) - len(left)} of them done before", flush=True)
    if not left:
        return 0, 0
    items = [{"file": file, "paths": json.dumps(some)} for file, some in left.items()]
    done = ray.data.from_items(items, override_num_blocks=len(items)).map_batches(
        Worker,
        fn_constructor_args=(options.model, options.device, options.threads, options.batch),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=options.replicas),
        num_gpus=options.gpus or None,
        num_cpus=None if options.gpus else options.cpus,
    )
    total = failed = 0
    for row in done.iter_rows():
        total, failed = total + row["photographs"], failed + row["failed"]
        print(
            f"{row['file'].rpartition('/')[2]}: {row['photographs']}, {row['failed']} failed",
            flush=True,
        )
    return total, failed


def coco(target: str) -> list[dict[str, Any]]:
    """All detections as COCO's results; an image's id is its path, a category's its class name."""
    system, path = fsspec.url_to_fs(target)
    results: list[dict[str, Any]] = []
    for file in sorted(system.glob(f"{path}/part-*.parquet")):
        with system.open(file, "rb") as source:
            rows = pq.read_table(source).to_pylist()
        for row in rows:
            results += list(coco_of(row))
    return results


def coco_of(row: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The results of a photograph's row; none where it could not be decoded."""
    columns = (row[name] or [] for name in ("labels", "scores", "boxes"))
    for label, score, (x1, y1, x2, y2) in zip(*columns, strict=True):
        box = [x1, y1, x2 - x1, y2 - y1]
        yield {"image_id": row["path"], "category_id": label, "score": score, "bbox": box}


def main(arguments: list[str] | None = None) -> int:
    """The exit status."""
    options = parser().parse_args(arguments)
    ray.init(address=options.address, ignore_reinit_error=True)
    total, failed = run(options)
    print(f"{total} photographs, {failed} of them could not be decoded")
    if options.coco:
        options.coco.write_text(json.dumps(coco(options.target)), encoding="utf-8")
    return 0


def parser() -> argparse.ArgumentParser:
    """The command line."""
    words = argparse.ArgumentParser("python -m deploy.ray.bulk", description=DESCRIPTION)
    words.add_argument("source", help="a folder of photographs")
    words.add_argument("target", help="a folder for the Parquet files")
    words.add_argument(
        "--model", default="deploy/models/default", help="a file or a folder that every node has"
    )
    words.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    words.add_argument("--part", type=int, default=1000, help="photographs of a part")
    words.add_argument("--batch", type=int, default=8, help="photographs that run together")
    words.add_argument("--replicas", type=int, default=1)
    words.add_argument("--gpus", type=float, default=0, help="of a replica")
    words.add_argument("--cpus", type=float, default=1, help="of a replica without a GPU")
    words.add_argument("--threads", type=int, default=1)
    words.add_argument("--address", help="of a cluster; else one of this machine alone")
    words.add_argument("--coco", type=Path, metavar="JSON", help="also write COCO's results there")
    return words


if __name__ == "__main__":
    sys.exit(main())
