"""The comparison that an artifact must pass before it gets its name: torch against ONNX Runtime.

Same inputs, at batch 1, 2, 3 and 8, on frames that are not square, with an empty image and crowded ones. Sets of
boxes are matched one to one, and ties as sets (matches.py). A float32 graph may differ by a small multiple of what
float32 does by itself on this machine with this network (noise.py). float16 has three digits, so there a match is
looser, and boxes whose score or overlap lies near a threshold may come or go.

Legend
    N   images of a batch       H W  the frame
    kind    detections, proposals, or regions of the caller's own
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from export.differences import KINDS, Asked, Comparison, Differences, largest
from export.graph import feed
from export.made_pictures import made_batch
from export.matches import Likeness
from export.noise import noise_of
from export.photographs import framed
from export.runtime import onnxruntime
from model.network.detector import Detections, Detector

BATCHES = (1, 2, 3, 8)
SEED = 0


class Bar(NamedTuple):
    """What is asked of a kind: the share that must match, and the most that matched may differ on average."""

    matched: float
    mean_score: float
    mean_box: float  # pixels


@dataclass(frozen=True)
class Tolerance:
    """When two boxes are the same, what is asked of each kind, and the noise that this comes from, if any."""

    likeness: Likeness
    bars: Mapping[str, Bar]
    noise: Mapping[str, Differences] = field(default_factory=dict)


# float16 keeps 11 bits. The default model, whose AP it leaves as it is (17.9 after 17.7): 0.970 of the detections and
# 0.976 of the proposals match, with mean differences of 1.3e-3 and 0.15 px (with a black image among the compared).
FLOAT16_BAR = Bar(0.95, 3e-3, 0.3)
FLOAT16 = Tolerance(Likeness(0.90, 2e-2, 0.0), dict.fromkeys(KINDS, FLOAT16_BAR))
# In float32 a match is a box that is the same for every use.
FLOAT32 = Likeness(0.99, 1e-3, 0.0)
# Of float32's noise the gate asks for a small multiple (seen of right graphs: 0.3 to 2.3 of it), though never for less
# than the last digit of a probability or of a place in the frame. Weights that no image reaches show in no answer:
# graph.missing_weights compares those.
MULTIPLE = 5.0
LAST_DIGIT = float(torch.finfo(torch.float32).eps)
# Of the boxes that are neither the same nor tied: what a look at few images cannot tell from none.
UNMATCHED = 2e-3


class ParityError(ValueError):
    """An artifact that does not answer as its checkpoint does; the message holds the report."""


@dataclass(frozen=True)
class ParityReport:
    """What the comparison found of each kind, and float32's noise where that was measured."""

    images: int
    kinds: Mapping[str, Differences]
    noise: Mapping[str, Differences] = field(default_factory=dict)

    def values(self) -> dict[str, float | int]:
        """For the manifest: a difference is the largest of the three kinds'; what is not a count has four digits."""
        values: dict[str, float | int] = {"images": self.images}
        values |= {kind: self.kinds[kind].count for kind in ("detections", "proposals")}
        values |= {f"matched_{kind}": found.matched for kind, found in self.kinds.items()}
        values["tied"] = largest(self.kinds, "tied")
        for figure in ("max_box", "max_score", "mean_box", "mean_score"):
            values[f"{figure}_difference"] = largest(self.kinds, figure)
        for figure in ("mean_box", "mean_score") if self.noise else ():
            values[f"{figure}_noise"] = largest(self.noise, figure)
        return {
            name: value if isinstance(value, int) else float(f"{value:.4g}")
            for name, value in values.items()
        }

    def faults(self, tolerance: Tolerance) -> list[str]:
        """What misses the gate, a phrase each; none when it passes."""
        faults = []
        for kind, found in self.kinds.items():
            bar = tolerance.bars[kind]
            if found.matched < bar.matched:
                faults.append(
                    f"matched_{kind} is {found.matched:.4g}, at least {bar.matched:.4g} asked"
                )
            for figure in ("mean_score", "mean_box"):
                value, most = getattr(found, figure), getattr(bar, figure)
                if value > most:
                    faults.append(
                        f"{figure}_difference of {kind} is {value:.3g}, at most {most:.3g} asked"
                    )
        if not self.kinds["detections"].count:
            faults.append(
                "no image had a detection, so none were compared: give photographs in which the"
                " detector finds something (--images DIR)"
            )
        return faults

    def __str__(self) -> str:
        """A table for people."""
        return "\n".join(f"  {name:<22} {value:.6g}" for name, value in self.values().items())


@dataclass(frozen=True)
class Reference:
    """What the artifact must answer: torch's answers to made images and photographs, and what is asked in float32."""

    detector: Detector
    asked: Sequence[Asked]
    answers: Sequence[Detections]
    float32: Tolerance

    def of(self, detector: Detector) -> "Reference":
        """The same asked of another `detector`."""
        with torch.inference_mode():
            answers = [detector.detect(*batch) for batch in self.asked]
        return replace(self, detector=detector, answers=answers)


def reference(detector: Detector, photographs: Sequence[Path] = ()) -> Reference:
    """Torch's answers, and float32's noise in them.

    Args:
        detector: in evaluation mode, on the CPU.
        photographs: looked at beside the made images; each in its own bucket.

    Raises:
        DataError: a photograph cannot be decoded.
    """
    asked = list(_inputs(detector, photographs))
    asked.sort(key=lambda batch: len(batch.sizes))
    with torch.inference_mode():
        answers = [detector.detect(*batch) for batch in asked]
    noise, tie = noise_of(detector, asked, answers, FLOAT32)
    side = max(max(frame) for frame in detector.config.resize.buckets)
    bars = {kind: _bar(found, side) for kind, found in noise.items()}
    return Reference(detector, asked, answers, Tolerance(FLOAT32._replace(tie=tie), bars, noise))


def _bar(noise: Differences, side: int) -> Bar:
    """What is asked of a kind of such `noise`. However much float32 rounds, what lower numbers do is too much."""
    return Bar(
        max(1 - max(MULTIPLE * (1 - noise.matched), UNMATCHED), FLOAT16_BAR.matched),
        min(max(MULTIPLE * noise.mean_score, LAST_DIGIT), FLOAT16_BAR.mean_score),
        min(max(MULTIPLE * noise.mean_box, LAST_DIGIT * side), FLOAT16_BAR.mean_box),
    )


def compare(expected: Reference, model: Path, tolerance: Tolerance | None = None) -> ParityReport:
    """How far the artifact at `model` is from what is `expected` of it.

    Args:
        expected: of `reference`.
        model: an ONNX file, without a manifest or with one.
        tolerance: what counts as a match; as in float32, where none is given.
    """
    tolerance = tolerance or expected.float32
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(model), options, ["CPUExecutionProvider"])
    comparison = Comparison(expected.detector.config, tolerance.likeness)
    for asked, answer in zip(expected.asked, expected.answers, strict=True):
        got = session.run(None, feed(*asked))
        comparison.add(answer, Detections(*(torch.from_numpy(part) for part in got)))
    count = sum(len(asked.sizes) for asked in expected.asked)
    return ParityReport(count, comparison.found(), tolerance.noise)


def require(report: ParityReport, tolerance: Tolerance) -> None:
    """Pass, or raise ParityError with what missed the gate and the whole report."""
    faults = report.faults(tolerance)
    if faults:
        raise ParityError(f"the graph does not answer as torch does: {'; '.join(faults)}\n{report}")


def _inputs(detector: Detector, photographs: Sequence[Path]) -> Iterator[Asked]:
    generator = np.random.default_rng(SEED)
    buckets = detector.config.resize.buckets
    frames = [frame for frame in buckets if frame[0] != frame[1]] or buckets
    for turn, count in enumerate(BATCHES):
        images, sizes = made_batch(count, frames[turn % len(frames)], generator)
        yield Asked(images, sizes, _thirds(sizes))
    for images, sizes in framed(photographs, detector.config.resize):
        yield Asked(images, sizes, _thirds(sizes))


def _thirds(sizes: Tensor) -> Tensor:
    """Regions [N, 9, 4] of contents `sizes` [N, 2]: a grid of three by three."""
    height, width = sizes.float().unbind(1)
    low = torch.arange(3) / 3
    y, x = torch.meshgrid(low, low, indexing="ij")
    corners = torch.stack([x, y, x + 1 / 3, y + 1 / 3], dim=-1).flatten(0, 1)  # (9, 4)
    return corners * torch.stack([width, height, width, height], dim=1)[:, None]
