"""What the other project's own model finds with the same weights: `fpn-import --compare`.

Photographs are resized by the detector's rule to 8-bit pixels first, and both are given those, so that the comparison
is of the networks. The other project's model comes from peers.py.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from model.config.resize import least_frame
from model.data.transforms import frame_file
from model.importers.layout import ImportRefused
from model.network.boxes import box_iou
from model.network.detector import Detector

# Two detections are the same where their class is, their boxes overlap so much, and their scores are as close as this.
LEAST_OVERLAP, MOST_APART = 0.99, 2e-3
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}


class Found(NamedTuple):
    """One image's boxes [M, 4], scores [M] and labels [M], of which 0 is the first class."""

    boxes: Tensor
    scores: Tensor
    labels: Tensor


# What finds in an image, uint8 [3, height, width] RGB, which it does not resize.
Peer = Callable[[Tensor], Found]


def photographs_in(folder: Path) -> list[Path]:
    """Those of a folder, by name.

    Raises:
        ImportRefused: there are none.
    """
    paths = sorted(path for path in folder.glob("*") if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise ImportRefused(f"expected a folder of photographs, found none in {folder}")
    return paths


def compared(
    detector: Detector, peer: Peer, photographs: Sequence[Path]
) -> Iterator[tuple[str, float]]:
    """The names of photographs, and the share of both models' detections that are the same in each."""
    for path in photographs:
        frame, (height, width) = frame_file(path, detector.config.resize)
        content = frame[:, :height, :width]
        # as torchvision pads it: squeeze-and-excite sees the padding
        frame = content.new_zeros((3, *least_frame([(height, width)])))
        frame[:, :height, :width] = content
        with torch.inference_mode():
            answer = detector.detect(frame[None], torch.tensor([(height, width)]))
            expected = peer(content)
        count = int(answer.counts[0])
        got = Found(answer.boxes[0, :count], answer.scores[0, :count], answer.labels[0, :count])
        yield path.name, same_share(got, expected)


def same_share(one: Found, other: Found) -> float:
    """Of all detections on both sides, the share with a partner of its own; 1 where there are none."""
    alike = one.labels[:, None] == other.labels[None, :]
    alike &= (one.scores[:, None] - other.scores[None, :]).abs() <= MOST_APART
    overlap = box_iou(one.boxes, other.boxes) * alike
    pairs, total = 0, len(one.boxes) + len(other.boxes)
    while overlap.numel() and float(overlap.max()) >= LEAST_OVERLAP:
        row, column = divmod(int(overlap.argmax()), overlap.shape[1])
        overlap[row, :] = 0
        overlap[:, column] = 0
        pairs += 1
    return 2 * pairs / total if total else 1.0


def told(shares: Sequence[tuple[str, float]]) -> str:
    """A line for each photograph, and the mean and the worst of all."""
    values = [share for _, share in shares]
    lines = [f"  {share:.4f}  {name}" for name, share in shares]
    mean = sum(values) / len(values)
    return "\n".join(
        [*lines, f"the same detections: {mean:.4f} in the mean, {min(values):.4f} in the worst"]
    )
