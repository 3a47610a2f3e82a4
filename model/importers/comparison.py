"""What the other project's own model finds with the same weights: `fpn-import --compare`.

torchvision is installed wherever training is. Photographs are resized by the detector's rule to 8-bit pixels first, and
both are given those, so that the comparison is of the networks.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torchvision.models import get_model

from model.config.resize import least_frame
from model.data.pictures import read_image
from model.data.transforms import frame_image
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


def compared(
    detector: Detector, state: Mapping[str, object], model: str, folder: Path
) -> Iterator[tuple[str, float]]:
    """The names of a folder's photographs, and the share of both models' detections that are the same in each.

    Args:
        detector: what was made of the weights.
        state: the weights.
        model: torchvision's name of their model.
        folder: with photographs.

    Raises:
        ImportRefused: there are none, or torchvision's model takes no such weights.
    """
    paths = sorted(path for path in folder.glob("*") if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise ImportRefused(
            f"--compare {folder}: expected a folder of photographs, found none there"
        )
    theirs = _their_model(detector, state, model)
    for path in paths:
        frame, (height, width) = frame_image(read_image(path), detector.config.resize)
        content = frame[:, :height, :width]
        # as torchvision pads it: squeeze-and-excite sees the padding
        frame = content.new_zeros((3, *least_frame([(height, width)])))
        frame[:, :height, :width] = content
        with torch.inference_mode():
            answer = detector.detect(frame[None], torch.tensor([(height, width)]))
            expected = _asked(theirs, content)
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


def _their_model(detector: Detector, state: Mapping[str, object], model: str) -> nn.Module:
    classes = len(detector.class_names) + 1
    theirs: nn.Module = get_model(model, weights=None, weights_backbone=None, num_classes=classes)
    for module in theirs.modules():
        if isinstance(module, nn.BatchNorm2d) and detector.config.backbone.norm_epsilon is not None:
            module.eps = detector.config.backbone.norm_epsilon
    try:
        missing = theirs.load_state_dict(dict(state), strict=False).missing_keys
    except RuntimeError:  # of other shapes
        missing = ["all"]
    if [key for key in missing if not key.endswith("num_batches_tracked")]:
        raise ImportRefused(
            f"--compare: torchvision's {model} does not take these weights; name their model with --model"
        )
    return theirs.eval()


def _asked(model: nn.Module, content: Tensor) -> Found:
    """What torchvision's `model` finds in `content` uint8 [3, height, width], without resizing it."""
    height, width = content.shape[1:]
    transform = model.get_submodule("transform")
    # two settings of torchvision's own, with which its scale is 1
    transform.min_size, transform.max_size = (min(height, width),), max(height, width)  # type: ignore[assignment]
    [found] = model([content / 255])
    # the background is torchvision's label 0 and never found
    return Found(found["boxes"], found["scores"], found["labels"] - 1)


def told(shares: Sequence[tuple[str, float]]) -> str:
    """A line for each photograph, and the mean and the worst of all."""
    values = [share for _, share in shares]
    lines = [f"  {share:.4f}  {name}" for name, share in shares]
    mean = sum(values) / len(values)
    return "\n".join(
        [*lines, f"the same detections: {mean:.4f} in the mean, {min(values):.4f} in the worst"]
    )
