"""torchvision's detectors with weights that are random and yet find things: the oracles of the parity tests.

Fresh weights score everything alike, and then any two detectors agree. Here the norms hold the statistics of several
photographs, and each predictor sees whitened features of them: in that space random directions are independent, so
anchors and classes score and move apart, hundreds of proposals are distinct, and dozens of detections are of many
classes. Fitted on one photograph alone, the scores of others saturate at 1.0, and ties decide. The epsilon of the norms
is 0 where it is so in torchvision's published file.

Legend
    P   samples: positions of the pyramid, or regions       d   features of a sample
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import skimage.data
import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.models import get_model
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import FrozenBatchNorm2d

from model.network.boxes import box_iou
from model.network.detector import Detections

PHOTOGRAPHS = ("coffee", "astronaut", "chelsea")  # of scikit-image's wheel
SIZE = (224, 320)  # of those that weights are fitted on
# Every so many of their regions: a head with convolutions takes long for one.
REGIONS = 4
# Directions in which the photograph's features hardly vary are noise, and whitening would blow it up.
LEAST_VARIANCE = 3e-2
# Deviations of P2..P5. A coarse level has few cells: without more of it they would not rank among the best.
GAINS = (1.0, 1.2, 1.5, 2.2)
# Added to the background's logit, so that most regions show nothing, as in a trained detector.
BACKGROUND = 3.5
# How far scores of the same detection may be apart, as the references' own comparisons have it.
SAME = 2e-3
# Their published files were trained on from norms without it.
WITHOUT_EPSILON = ("fasterrcnn_resnet50_fpn", "maskrcnn_resnet50_fpn")


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
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        model = get_model(name, weights=None, weights_backbone=None)
        pixels = torch.stack(
            [model.transform.normalize(photograph(each, SIZE) / 255) for each in PHOTOGRAPHS]
        )
        images = ImageList(pixels, [SIZE] * len(PHOTOGRAPHS))
        _settle_norms(model.backbone, lambda: model.backbone(images.tensors))
        if name in WITHOUT_EPSILON:
            _freeze_norms(model.backbone.body)
        _spread(model, images)
    return model.eval()


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


def _settle_norms(part: nn.Module, run: Callable[[], object]) -> None:
    """Norms with random weights and the statistics of what `part` sees when it is `run`."""
    for norm in part.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.normal_(norm.bias, std=0.3)
            norm.momentum = 1.0
    part.train()
    run()
    part.eval()


def _freeze_norms(body: nn.Module) -> None:
    for parent in list(body.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.BatchNorm2d):
                frozen = FrozenBatchNorm2d(child.num_features, eps=0.0)
                frozen.load_state_dict(child.state_dict())
                setattr(parent, name, frozen)


def _spread(model: FasterRCNN, images: ImageList) -> None:
    """Predictors that tell the photographs' positions, and their regions, apart."""
    head, predictor = model.rpn.head, model.roi_heads.box_predictor
    pyramid = model.backbone.eval()(images.tensors)
    for block, level, gain in zip(
        model.backbone.fpn.layer_blocks, pyramid.values(), GAINS, strict=False
    ):
        deviation, mean = torch.std_mean(level, dim=(0, 2, 3))
        last = block[-1]  # the convolution, or its norm
        scale = (gain / deviation).reshape(-1, *[1] * (last.weight.dim() - 1))
        last.weight.mul_(scale)
        last.bias.copy_(
            (last.bias - mean) * gain / deviation if len(block) > 1 else -mean * gain / deviation
        )
    pyramid = model.backbone(images.tensors)
    hidden = [head.conv(level).permute(0, 2, 3, 1).flatten(0, 2) for level in pyramid.values()]
    samples = torch.cat(hidden)  # (N, d, H, W) of each level -> (P, d)
    _project(head.cls_logits, samples, 2.0)
    _project(head.bbox_pred, samples, 0.3)
    boxes, _ = model.rpn.eval()(images, pyramid)
    boxes = [each[::REGIONS] for each in boxes]
    pooled = model.roi_heads.box_roi_pool(pyramid, boxes, images.image_sizes)
    box_head = model.roi_heads.box_head
    _settle_norms(box_head, lambda: box_head(pooled))
    regions = box_head(pooled)
    _project(predictor.cls_score, regions, 1.5)
    _project(predictor.bbox_pred, regions, 1.0)
    predictor.cls_score.bias[0] += BACKGROUND


def _project(layer: nn.Module, samples: Tensor, deviation: float) -> None:
    """Make `layer` see `samples` [P, d] whitened, in random directions: each output has standard `deviation`."""
    assert isinstance(layer, nn.Conv2d | nn.Linear)
    mean = samples.mean(dim=0)
    variances, directions = torch.linalg.eigh(torch.cov(samples.T))
    kept = variances > LEAST_VARIANCE * variances[-1]
    whitening = directions[:, kept] / variances[kept].sqrt()  # (d, kept directions)
    mixture = nn.functional.normalize(torch.randn((layer.weight.shape[0], int(kept.sum()))), dim=1)
    weight = deviation * mixture @ whitening.T
    layer.weight.copy_(weight.view_as(layer.weight))
    assert layer.bias is not None
    layer.bias.copy_(-weight @ mean)
