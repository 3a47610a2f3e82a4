"""Golden photographs: small ones that the artifact carries with the answers that were seen of it at export.

A server that decodes, resizes and computes as it should finds the same in them, but for rounding; one that does not
shows it before it serves (docs/artifact.md).
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import torch
from PIL import Image

from export.graph import feed
from export.manifest import Precision
from export.precision.ranges import quiet_session
from model.config.class_names import is_name
from model.config.resize import ResizeRule
from model.data.pictures import read_image, read_size
from model.data.transforms import frame_file, scale_boxes
from model.errors import Refused

# Of all photographs together: they are in every copy of the file, and in what a server reads at start.
MAX_BYTES = 64 * 1024
# Detections below it are not compared: there is least to lose, and most that rounding can tip.
LEAST_SCORE = 0.3

# How far an answer may be from what was seen here: of a score, and of a box's corner in pixels of the photograph.
#
# Of the default model's golden photographs CPUs with AVX2 alone and with AVX-512 VNNI differ by 5e-7 and 5e-5 px, in
# float32 as in int8 with exact kernels; in 128 detections of float32 torch and ONNX Runtime differ by up to 3e-6 and
# 3e-4 px. int8 kernels that saturate move a score by 0.5 and a corner by 100 px. Of 30 files with one weight at the
# largest of its tensor 27 in float32 and 21 in int8 differ by more than this; the nine others in int8 by 8e-5 at most,
# for what their weights changed became no detection here. float16's are those of its parity (FLOAT16), never seen on a
# GPU.
TOLERANCES: dict[Precision, dict[str, float]] = {
    "float32": {"score": 2e-4, "box": 0.05},
    "float16": {"score": 2e-2, "box": 2.0},
    "int8": {"score": 1e-2, "box": 1.0},
}


class GoldenError(Refused):
    """Photographs that cannot be golden; one line says why."""


@dataclass(frozen=True)
class Photograph:
    """A file that may be golden, and its bytes."""

    path: Path
    jpeg: bytes

    @property
    def name(self) -> str:
        """Of the file, without its folder."""
        return self.path.name


def golden_photographs(paths: Sequence[Path]) -> list[Photograph]:
    """The photographs of `paths`.

    Raises:
        GoldenError: they are too large together, two have one name, or one is no JPEG.
        DataError: one cannot be decoded.
    """
    photographs = [_photograph(path) for path in paths]
    total = sum(len(each.jpeg) for each in photographs)
    if total > MAX_BYTES:
        raise GoldenError(
            f"--golden: expected photographs of at most {MAX_BYTES} bytes together, got {total}; save them smaller"
        )
    if len({each.name for each in photographs}) < len(photographs):
        raise GoldenError("--golden: expected photographs whose file names differ")
    return photographs


def _photograph(path: Path) -> Photograph:
    if not is_name(path.name):
        raise GoldenError(
            f"--golden: expected a file name of printable characters, got {path.name!a}"
        )
    read_image(path)
    with Image.open(path) as opened:
        if opened.format != "JPEG":
            raise GoldenError(f"--golden {path}: expected a JPEG, got {opened.format}")
    return Photograph(path, path.read_bytes())


def golden(
    model: onnx.ModelProto,
    resize: ResizeRule,
    precision: Precision,
    photographs: Sequence[Photograph],
) -> dict[str, Any] | None:
    """The manifest's `golden`: what `model` finds in the photographs on this machine; None without any.

    Raises:
        GoldenError: it finds nothing in all of them.
    """
    if not photographs:
        return None
    session = quiet_session(model)
    seen = [_seen(session, resize, photograph) for photograph in photographs]
    if not any(each["detections"] for each in seen):
        raise GoldenError(
            f"--golden: the model finds nothing of score {LEAST_SCORE} or more in these photographs; give some with"
            " objects that it knows"
        )
    return {
        "tolerance": TOLERANCES[precision],
        "least_score": LEAST_SCORE,
        "photographs": seen,
    }


def _seen(session: Any, resize: ResizeRule, photograph: Photograph) -> dict[str, Any]:
    pixels, content = frame_file(photograph.path, resize)
    height, width = content
    names = ["boxes", "scores", "labels"]
    answers = session.run(names, feed(pixels[None], torch.tensor([content])))
    boxes, scores, labels = (torch.from_numpy(answer[0]) for answer in answers)
    count = int((scores >= LEAST_SCORE).sum())  # best first
    boxes = scale_boxes(boxes[:count], content, read_size(photograph.path))
    return {
        "name": photograph.name,
        "jpeg": base64.b64encode(photograph.jpeg).decode(),
        "content": list(content),
        "bucket": list(pixels.shape[1:]),
        "means": [
            round(mean, 4) for mean in pixels[:, :height, :width].double().mean(dim=(1, 2)).tolist()
        ],
        "detections": [
            {"label": label, "score": round(score, 6), "box": [round(side, 4) for side in box]}
            for label, score, box in zip(
                labels[:count].tolist(), scores[:count].tolist(), boxes.tolist(), strict=True
            )
        ],
    }
