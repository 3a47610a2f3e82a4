"""The detector: normalise, backbone, pyramid, proposals, second stage, detections.

Source: the FPN paper, figure 3 and section 4. `Detector` is the network and nothing else; targets and losses live in
matching.py, sampling.py and losses.py. `detect` is batch-first: fixed counts and masks, and no loop over images, so
that what is exported is this very code.

Legend
    N   images        H W  the frame, multiples of 32      D   detections an image
    L   levels (5)    K    proposals a level at most       R   proposals an image
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from model.anchors import cell_anchors, grid_anchors
from model.backbone import build_backbone
from model.config import DetectorConfig
from model.detections import best_detections, class_probs
from model.fpn import STRIDES, FeaturePyramid
from model.roi import RoiHead, assign_levels, pool_regions
from model.rpn import (
    LevelPredictions,
    LevelProposals,
    RpnHead,
    best_of_all_levels,
    propose,
    used_by_level,
)

# ImageNet's channel means and deviations of RGB in 0..1, as torchvision's weights expect.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


class Detections(NamedTuple):
    """The artifact's outputs (docs/architecture.md), in its order.

    boxes [N, D, 4] float32, scores [N, D] float32, labels, levels [N, D] int64, counts [N] int64, proposal_boxes
    [N, L, K, 4] float32, proposal_scores [N, L, K] float32, proposal_counts [N, L] int64.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    levels: Tensor
    counts: Tensor
    proposal_boxes: Tensor
    proposal_scores: Tensor
    proposal_counts: Tensor


class Detector(nn.Module):
    """FPN Faster R-CNN.

    Attributes:
        config: all settings.
        class_names: names of the foreground classes; index = label.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, config: DetectorConfig, class_names: tuple[str, ...]) -> None:
        super().__init__()
        self.config = config
        self.class_names = class_names
        self.backbone = build_backbone(config.backbone)
        self.fpn = FeaturePyramid(self.backbone.channels, config.pyramid.channels)
        self.rpn = RpnHead(config.pyramid.channels, len(config.anchors.ratios))
        self.roi = RoiHead(config.pyramid.channels, len(class_names), config.roi)
        self.register_buffer("mean", torch.tensor(MEAN).reshape(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).reshape(3, 1, 1), persistent=False)
        for level, size in enumerate(config.anchors.sizes):
            cells = cell_anchors((size,), config.anchors.ratios)
            self.register_buffer(f"cell_anchors_{level}", cells, persistent=False)

    def normalise(self, images: Tensor, sizes: Tensor) -> Tensor:
        """Float32 [N, 3, H, W]: `images` uint8 less mean over deviation, exact zero outside the content `sizes`."""
        _, _, H, W = images.shape
        row = torch.arange(H, device=images.device)[None, :, None]
        column = torch.arange(W, device=images.device)[None, None, :]
        inside = (row < sizes[:, 0, None, None]) & (column < sizes[:, 1, None, None])  # (N, H, W)
        return (images / 255.0 - self.mean) / self.std * inside[:, None]

    def forward(self, images: Tensor) -> tuple[tuple[Tensor, ...], list[LevelPredictions]]:
        """The pyramid P2..P6 and the proposal head's predictions on it, for normalised `images`."""
        pyramid = self.fpn(self.backbone(images))
        return pyramid, self.rpn(pyramid)

    def anchors(self, pyramid: tuple[Tensor, ...]) -> list[Tensor]:
        """Anchors [cells * A, 4] of every level of `pyramid`, in pixels of the input."""
        return [
            grid_anchors(
                self.get_buffer(f"cell_anchors_{level}"),
                features.shape[-2],
                features.shape[-1],
                stride,
            )
            for level, (features, stride) in enumerate(zip(pyramid, STRIDES, strict=True))
        ]

    def detect(self, images: Tensor, sizes: Tensor) -> Detections:
        """Detections and proposals of a batch, in pixels of the frame.

        Args:
            images: uint8 [N, 3, H, W] RGB, content top-left; H and W multiples of 32.
            sizes: int64 [N, 2], (height, width) of each content.
        """
        rpn, roi = self.config.rpn, self.config.roi
        pyramid, predictions = self(self.normalise(images, sizes))
        by_level = propose(predictions, self.anchors(pyramid), sizes, rpn, rpn.pre_nms_test)
        proposals = best_of_all_levels(by_level, rpn.post_nms_test)
        N, R, _ = proposals.boxes.shape
        owner = torch.arange(N, device=images.device)[:, None].expand(N, R).flatten()
        boxes = proposals.boxes.flatten(0, 1)  # (N, R, 4) -> (N*R, 4)
        logits, deltas = self.roi(pool_regions(pyramid, boxes, owner, roi))
        probs = class_probs(logits.unflatten(0, (N, R)), proposals.valid)
        final = best_detections(proposals.boxes, probs, deltas.unflatten(0, (N, R)), sizes, roi)
        levels = assign_levels(proposals.boxes, roi).gather(1, final.sources)
        return Detections(
            *final[:3],
            levels * (final.scores > 0),
            final.counts,
            *_reported(used_by_level(by_level, proposals)),
        )


def _reported(proposals: LevelProposals) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes [N, L, K, 4], objectness probabilities [N, L, K] and counts [N, L] of what fed the second stage."""
    probs = proposals.logits.sigmoid()  # of minus infinity: zero
    return proposals.boxes, probs, proposals.valid.sum(dim=-1)
