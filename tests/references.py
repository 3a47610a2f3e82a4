"""torchvision's detectors with random weights that yet find things (benchmarks/spread.py), and their answers."""

import functools
from typing import Any, NamedTuple

import numpy as np
import skimage.data
import torch
from PIL import Image
from torch import Tensor
from torchvision.models.detection import FasterRCNN

from benchmarks.spread import spread_detector
from model.network.boxes import box_iou
from model.network.detector import Detections

PHOTOGRAPHS = ("coffee", "astronaut", "chelsea")  # of scikit-image's wheel
SIZE = (224, 320)  # of those that weights are fitted on
# How far scores of the same detection may be apart, as the references' own comparisons have it.
SAME = 2e-3


def photograph(name: str, size: tuple[int, int]) -> Tensor:
    """A photograph of scikit-image's, such as `PHOTOGRAPHS`, at `size` (height, width), uint8 [3, height, width]."""
    image = Image.fromarray(getattr(skimage.data, name)())
    resized = image.resize(size[::-1], Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(resized)).permute(2, 0, 1).contiguous()


class Found(NamedTuple):
    """One image's boxes [M, 4], scores [M] and labels [M] (0 is the first class; of proposals all are 0)."""

    boxes: Tensor
    scores: Tensor
    labels: Tensor


class Answers(NamedTuple):
    """What a detector found in one image."""

    detections: Found
    proposals: Found


@functools.cache
def torchvision_detector(name: str = "fasterrcnn_resnet50_fpn", seed: int = 0) -> FasterRCNN:
    """torchvision's model of that name for 91 classes, in evaluation mode; the same weights for the same seed."""
    return spread_detector(name, [photograph(each, SIZE) for each in PHOTOGRAPHS], seed)


def with_proposals(model: FasterRCNN, count: int) -> FasterRCNN:
    """`model`, whose second stage sees the best `count` proposals of an image, and which makes no masks of them."""
    model.roi_heads.mask_roi_pool = None
    model.rpn._post_nms_top_n = {"training": count, "testing": count}
    return model


def torchvision_answers(model: FasterRCNN, image: Tensor) -> Answers:
    """What `model` finds in `image` uint8 [3, height, width], without resizing it."""
    height, width = image.shape[1:]
    # Two settings of torchvision's own, with which its scale is 1.
    model.transform.min_size, model.transform.max_size = (min(height, width),), max(height, width)
    kept: list[tuple[list[Tensor], list[Tensor]]] = []
    choose = model.rpn.filter_proposals

    def choose_and_keep(*arguments: Any) -> tuple[list[Tensor], list[Tensor]]:
        kept.append(choose(*arguments))
        return kept[-1]

    model.rpn.filter_proposals = choose_and_keep  # of what it returns, the model forgets the scores
    try:
        with torch.inference_mode():
            [found] = model([image / 255])
    finally:
        del model.rpn.filter_proposals
    [([proposed], [objectness])] = kept
    # The background is torchvision's label 0 and never found.
    return Answers(
        Found(found["boxes"], found["scores"], found["labels"] - 1),
        _classless(proposed, objectness),
    )


def matched(one: Found, other: Found, apart: float = 1e-3) -> float:
    """Of all boxes on both sides, the share with a partner of its own: same label, IoU > 0.99, scores not `apart`."""
    same = one.labels[:, None] == other.labels[None, :]
    same &= (one.scores[:, None] - other.scores[None, :]).abs() <= apart
    overlap = box_iou(one.boxes, other.boxes) * same
    pairs = 0
    while overlap.numel() and overlap.max() > 0.99:
        best = int(overlap.argmax())
        overlap[best // overlap.shape[1], :] = 0
        overlap[:, best % overlap.shape[1]] = 0
        pairs += 1
    total = len(one.boxes) + len(other.boxes)
    return 2 * pairs / total if total else 1.0


def detections(answer: Detections) -> Found:
    """Those of the first image."""
    count = int(answer.counts[0])
    return Found(answer.boxes[0, :count], answer.scores[0, :count], answer.labels[0, :count])


def proposals(answer: Detections) -> Found:
    """Those of the first image, of all levels."""
    boxes, scores = answer.proposal_boxes[0].flatten(0, 1), answer.proposal_scores[0].flatten()
    real = scores > 0
    return _classless(boxes[real], scores[real])


def _classless(boxes: Tensor, scores: Tensor) -> Found:
    return Found(boxes, scores, torch.zeros(len(scores), dtype=torch.int64))
