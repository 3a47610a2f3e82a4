"""Whether the answers are right: the golden photographs, and the GPU beside the CPU on real photographs.

Legend
    reference   the CPU's detections of an image in float32; each must have one of the same class nearby
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.gpu_check.host import device
from benchmarks.gpu_check.parts import Finding, Skipped, Wrong
from service.artifact.tensors import Outputs
from service.check import check, table
from service.engine.engine import Engine
from service.golden import refuse_wrong
from service.pictures.framing import Framing, load_frame
from service.settings import Settings

# Detections that a user sees, and the overlap at which two are the same.
LEAST_SCORE, SAME_IOU = 0.3, 0.9
# Of float32 on both; float16 moves scores across LEAST_SCORE.
LEAST_SHARE = {"float32": 0.99, "float16": 0.95}
MAX_PIXELS = 50_000_000


def golden(model: Path) -> Finding:
    """The golden photographs of `model`, on this host's device, as the server compares them before it is ready."""
    verdicts = check(Settings(model=model, device="cuda" if device() == "cuda" else "cpu"))
    refuse_wrong(verdicts)
    heads, *lines = table(verdicts).splitlines()
    return Finding(
        f"{len(verdicts)} photographs are answered as at export, on {device()}",
        [word.strip() for word in heads.split("  ") if word.strip()],
        [[word.strip() for word in line.split("  ") if word.strip()] for line in lines],
        {"photographs": len(verdicts)},
    )


def cpu_against_gpu(reference: Path, model: Path, photographs: Sequence[bytes]) -> Finding:
    """The detections of `model` on the GPU beside those of the float32 `reference` on the CPU."""
    if device() == "cpu":
        raise Skipped("no GPU: the CPU agrees with itself")
    engines = Engine(reference, "cpu", 0), Engine(model, "cuda", 0)
    rule, tally = engines[0].manifest, Tally()
    framing = Framing(rule.resize, rule.buckets, MAX_PIXELS)
    for file in photographs:
        frame = load_frame(file, framing)
        cpu, gpu = (engine.run([frame.pixels], [frame.content])[0] for engine in engines)
        tally.add(cpu, gpu)
    precision = engines[1].manifest.precision
    said = (
        f"{model.name} in {precision}: {100 * tally.share:.1f} % of {tally.expected} detections in {len(photographs)}"
        f" photographs are those of the CPU; scores differ by at most {tally.score:.5f}, boxes by {tally.box:.2f} px"
    )
    if tally.share < LEAST_SHARE[precision]:
        raise Wrong(said)
    return Finding(said, figures=vars(tally) | {"share": tally.share})


class Tally:
    """How two runtimes' detections compare, summed over photographs."""

    def __init__(self) -> None:
        self.expected = self.matched = 0
        self.score = self.box = 0.0

    @property
    def share(self) -> float:
        """Of the expected detections, those that were found; 1 where none were expected."""
        return self.matched / self.expected if self.expected else 1.0

    def add(self, expected: Outputs, got: Outputs) -> None:
        """Compares an image's detections of LEAST_SCORE with all that the other one found."""
        for i in range(int((expected.scores[: int(expected.counts)] >= LEAST_SCORE).sum())):
            self.expected += 1
            same = np.flatnonzero(got.labels[: int(got.counts)] == expected.labels[i])
            overlaps = _iou(expected.boxes[i], got.boxes[same])
            if overlaps.max(initial=0.0) >= SAME_IOU:
                j = same[overlaps.argmax()]
                self.matched += 1
                self.score = max(self.score, float(abs(expected.scores[i] - got.scores[j])))
                apart = np.abs(expected.boxes[i] - got.boxes[j]).max()
                self.box = max(self.box, float(apart))


def _iou(box: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float32]:
    """Intersection over union of a box [4] and `others` [n, 4]."""
    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    shared = sides.clip(0).prod(axis=1)
    areas = (others[:, 2:] - others[:, :2]).prod(axis=1) + (box[2:] - box[:2]).prod()
    overlaps: NDArray[np.float32] = shared / np.maximum(areas - shared, 1e-9)
    return overlaps
