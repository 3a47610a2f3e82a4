"""Golden photographs for tests: made of the answers that a file gives here, and written into its manifest."""

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx

from service.detections import to_image
from service.engine.engine import Engine
from service.pictures.framing import Framing, load_frame

MAX_PIXELS = 10**6


def golden_of(engine: Engine, files: Mapping[str, bytes], least_score: float) -> dict[str, Any]:
    """The manifest's `golden`: what `engine` finds in `files` by name."""
    return {
        "tolerance": {"score": 0.001, "box": 0.1},
        "least_score": least_score,
        "photographs": [_seen(engine, name, file, least_score) for name, file in files.items()],
    }


def _seen(engine: Engine, name: str, file: bytes, least_score: float) -> dict[str, Any]:
    framing = Framing(engine.manifest.resize, engine.manifest.buckets, MAX_PIXELS)
    frame = load_frame(file, framing)
    (height, width), outputs = frame.content, engine.run([frame.pixels], [frame.content])[0]
    count = int((outputs.scores[: int(outputs.counts)] >= least_score).sum())
    boxes = to_image(outputs.boxes[:count], frame).tolist()
    found = zip(outputs.labels.tolist(), outputs.scores.tolist(), boxes, strict=False)
    return {
        "name": name,
        "jpeg": base64.b64encode(file).decode(),
        "content": [height, width],
        "bucket": list(frame.bucket),
        "means": frame.pixels[:, :height, :width].mean(axis=(1, 2)).tolist(),
        "detections": [{"label": label, "score": s, "box": box} for label, s, box in found],
    }


def with_manifest(path: Path, out: Path, **changes: Any) -> Path:
    """`out`: the model file at `path` with these entries of its manifest changed."""
    model = onnx.load(path)
    (entry,) = (each for each in model.metadata_props if each.key == "manifest")
    entry.value = json.dumps({**json.loads(entry.value), **changes})
    onnx.save(model, out)
    return out


def with_golden(
    path: Path, out: Path, files: Mapping[str, bytes], least_score: float = 0.3
) -> Path:
    """`out`: the model file at `path`, with `files` as its golden photographs."""
    return with_manifest(path, out, golden=golden_of(Engine(path, "cpu", 1), files, least_score))
