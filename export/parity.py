"""The comparison that an artifact must pass before it gets its name: torch against ONNX Runtime.

Same inputs, at batch 1, 2, 3 and 8, on frames that are not square, with an empty image and crowded ones. Sets of
boxes are matched one to one (equal label; in float32 IoU over 0.99 and score within 1e-3): float32 sums in another
order move a score by about 1e-6, and two boxes of nearly equal score may change places. float16 has three digits, so
there a match is looser, and boxes whose score or overlap lies near a threshold may come or go.

Legend
    N   images of a batch       H W  the frame      M   boxes of one image (detections, or proposals of a level)
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from export.graph import feed
from export.made_pictures import made_batch
from export.photographs import framed
from export.runtime import onnxruntime
from model.network.boxes import box_iou
from model.network.detector import Detections, Detector

BATCHES = (1, 2, 3, 8)
SEED = 0


@dataclass(frozen=True)
class Tolerance:
    """What counts as a match, and how much of it the gate asks for.

    Attributes:
        min_iou, max_score_difference: of two boxes that match.
        min_matched: share of all boxes that must.
        max_mean_score_difference, max_mean_box_difference: over the matched; the second in pixels.
    """

    min_iou: float
    max_score_difference: float
    min_matched: float
    max_mean_score_difference: float
    max_mean_box_difference: float


# In float32 a match is a box that is the same for every use; the gate asks for nearly all to match, and for differences
# on average hardly above float32's own (seen: 1e-6 and 1e-4 px). Weights that no image reaches show in no answer:
# graph.missing_weights compares those.
FLOAT32 = Tolerance(0.99, 1e-3, 0.99, 1e-5, 2e-3)
# float16 keeps 11 bits. The default model, whose AP it leaves as it is (17.9 after 17.7): 0.970 of the detections and
# 0.976 of the proposals match, with mean differences of 1.3e-3 and 0.15 px (with a black image among the compared).
FLOAT16 = Tolerance(0.90, 2e-2, 0.95, 3e-3, 0.3)


class ParityError(ValueError):
    """An artifact that does not answer as its checkpoint does; the message holds the report."""


@dataclass(frozen=True)
class ParityReport:
    """What the comparison found, of matched boxes where it is about differences.

    A share is 0..1, a box difference pixels of the frame; a mean is the largest of the three kinds'.
    """

    images: int
    detections: int
    proposals: int
    matched_detections: float
    matched_proposals: float
    matched_regions: float
    max_box_difference: float
    max_score_difference: float
    mean_box_difference: float
    mean_score_difference: float

    def values(self) -> dict[str, float | int]:
        """For the manifest; what is not a count is rounded to four digits."""
        return {
            name: value if isinstance(value, int) else float(f"{value:.4g}")
            for name, value in asdict(self).items()
        }

    def faults(self, tolerance: Tolerance = FLOAT32) -> list[str]:
        """What misses the gate, one line each; none when it passes."""
        asked = tolerance.min_matched
        low = [(f"matched_{kind}", asked) for kind in ("detections", "proposals", "regions")]
        high = [
            ("mean_score_difference", tolerance.max_mean_score_difference),
            ("mean_box_difference", tolerance.max_mean_box_difference),
        ]
        values = asdict(self)
        faults = [
            f"{n} is {values[n]:.4g}, at least {bar} asked" for n, bar in low if values[n] < bar
        ]
        faults += [
            f"{n} is {values[n]:.3g}, at most {bar} asked" for n, bar in high if values[n] > bar
        ]
        if not self.detections:
            faults.append(
                "no image had a detection, so none were compared: give photographs in which the"
                " detector finds something (--images DIR)"
            )
        return faults

    def __str__(self) -> str:
        """A table for people."""
        return "\n".join(f"  {name:<22} {value:.6g}" for name, value in asdict(self).items())


def compare(
    detector: Detector,
    model: Path,
    photographs: Sequence[Path] = (),
    tolerance: Tolerance = FLOAT32,
) -> ParityReport:
    """How far the artifact at `model` is from `detector`.

    Args:
        detector: in evaluation mode, on the CPU.
        model: an ONNX file, without a manifest or with one.
        photographs: compared beside the made images; each in its own bucket.
        tolerance: what counts as a match.

    Raises:
        DataError: a photograph cannot be decoded.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(model), options, ["CPUExecutionProvider"])
    detections, proposals, regions = (_Tally(tolerance) for _ in range(3))
    count = 0
    for images, sizes in _inputs(detector, photographs):
        given = _thirds(sizes)
        with torch.inference_mode():
            expected = detector.detect(images, sizes, given)
        answers = session.run(None, feed(images, sizes, given))
        got = Detections(*(torch.from_numpy(answer) for answer in answers))
        for index in range(len(sizes)):
            count += 1
            detections.add(_detections(expected, index), _detections(got, index))
            proposals.add(_proposals(expected, index), _proposals(got, index))
            regions.add(_regions(expected, index), _regions(got, index))
    return _report(count, detections, proposals, regions)


def _report(
    images: int, detections: "_Tally", proposals: "_Tally", regions: "_Tally"
) -> ParityReport:
    boxes = [tally.box_differences for tally in (detections, proposals, regions)]
    scores = [tally.score_differences for tally in (detections, proposals, regions)]
    return ParityReport(
        images=images,
        detections=detections.compared // 2,
        proposals=proposals.compared // 2,
        matched_detections=detections.share(),
        matched_proposals=proposals.share(),
        matched_regions=regions.share(),
        max_box_difference=_largest(boxes, torch.max),
        max_score_difference=_largest(scores, torch.max),
        mean_box_difference=_largest(boxes, torch.mean),
        mean_score_difference=_largest(scores, torch.mean),
    )


def require(report: ParityReport, tolerance: Tolerance = FLOAT32) -> None:
    """Pass, or raise ParityError with what missed the gate and the whole report."""
    faults = report.faults(tolerance)
    if faults:
        raise ParityError(f"the graph does not answer as torch does: {'; '.join(faults)}\n{report}")


def _inputs(detector: Detector, photographs: Sequence[Path]) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches (images uint8 [N, 3, H, W], sizes int64 [N, 2])."""
    generator = np.random.default_rng(SEED)
    buckets = detector.config.resize.buckets
    frames = [frame for frame in buckets if frame[0] != frame[1]] or buckets
    for turn, count in enumerate(BATCHES):
        yield made_batch(count, frames[turn % len(frames)], generator)
    yield from framed(photographs, detector.config.resize)


class _Boxes(NamedTuple):
    """One image's boxes of one kind: boxes [M, 4], scores [M], groups [M] (labels or levels)."""

    boxes: Tensor
    scores: Tensor
    groups: Tensor


class _Tally:
    """Matches boxes of one kind, image by image, and sums up."""

    def __init__(self, tolerance: Tolerance) -> None:
        self.tolerance = tolerance
        self.compared = 0  # of torch and of the graph together
        self.matched = 0
        self.box_differences: list[Tensor] = []
        self.score_differences: list[Tensor] = []

    def add(self, expected: _Boxes, got: _Boxes) -> None:
        """Pair the boxes that are the same; each stands in one pair at most, the best overlaps first."""
        same = expected.groups[:, None] == got.groups[None, :]
        same &= (
            expected.scores[:, None] - got.scores[None, :]
        ).abs() <= self.tolerance.max_score_difference
        overlap = torch.where(same, box_iou(expected.boxes, got.boxes), 0.0)
        pairs = torch.nonzero(overlap > self.tolerance.min_iou)
        pairs = pairs[overlap[pairs[:, 0], pairs[:, 1]].argsort(descending=True, stable=True)]
        mine, theirs = _one_to_one(pairs)
        self.compared += len(expected.scores) + len(got.scores)
        self.matched += 2 * len(mine)
        self.box_differences.append((expected.boxes[mine] - got.boxes[theirs]).abs().flatten())
        self.score_differences.append((expected.scores[mine] - got.scores[theirs]).abs())

    def share(self) -> float:
        """Of all boxes on both sides, those that were matched; 1 when there was nothing to match."""
        return self.matched / self.compared if self.compared else 1.0


def _largest(differences: list[list[Tensor]], reduce: Callable[[Tensor], Tensor]) -> float:
    """The largest of all kinds' reduced differences; 0 where nothing was matched."""
    kinds = [torch.cat(parts) for parts in differences]
    return max((float(reduce(kind)) for kind in kinds if kind.numel()), default=0.0)


def _detections(answer: Detections, index: int) -> _Boxes:
    count = int(answer.counts[index])
    return _Boxes(*(part[index, :count] for part in (answer.boxes, answer.scores, answer.labels)))


def _proposals(answer: Detections, index: int) -> _Boxes:
    """All levels' proposals of one image."""
    counts = answer.proposal_counts[index]
    real = torch.arange(answer.proposal_scores.shape[-1])[None, :] < counts[:, None]  # (L, K)
    levels = torch.arange(len(counts))[:, None].expand_as(real)
    return _Boxes(
        answer.proposal_boxes[index][real], answer.proposal_scores[index][real], levels[real]
    )


def _regions(answer: Detections, index: int) -> _Boxes:
    """What one image's regions hold. A region whose best two classes are nearly equal may change between them."""
    return _Boxes(
        answer.region_boxes[index], answer.region_scores[index], answer.region_labels[index]
    )


def _thirds(sizes: Tensor) -> Tensor:
    """Regions [N, 9, 4] of contents `sizes` [N, 2]: a grid of three by three."""
    height, width = sizes.float().unbind(1)
    low = torch.arange(3) / 3
    y, x = torch.meshgrid(low, low, indexing="ij")
    corners = torch.stack([x, y, x + 1 / 3, y + 1 / 3], dim=-1).flatten(0, 1)  # (9, 4)
    return corners * torch.stack([width, height, width, height], dim=1)[:, None]


def _one_to_one(pairs: Tensor) -> tuple[list[int], list[int]]:
    """Of `pairs` [P, 2], best first, those whose members have not been taken."""
    mine: dict[int, int] = {}
    taken: set[int] = set()
    for left, right in pairs.tolist():
        if left not in mine and right not in taken:
            mine[left] = right
            taken.add(right)
    return list(mine.keys()), list(mine.values())
