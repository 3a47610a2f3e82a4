"""The detector: normalise, backbone, pyramid, proposals, second stage, detections.

Source: the FPN paper, figure 3 and section 4. `Detector` is the network and nothing else; targets and losses live in
matching.py, sampling.py and losses.py. `detect` is batch-first: fixed counts and masks, and no loop over images, so
that what is exported is this very code.

Legend
    N   images        H W  the frame, multiples of 32      D   detections an image
    L   levels (1 where there is no pyramid)               M   regions of all images together
    K   proposals a level at most                          R   proposals an image
"""

from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from model.config.detector import DetectorConfig
from model.network.anchors import AnchorGrid, cell_anchors, sizes_by_level
from model.network.backbone import build_backbone
from model.network.boxes import at_least
from model.network.detections import FinalBoxes, best_detections, class_probs, refined_regions
from model.network.pooling import Regions, assign_levels, pool_in_reading_order
from model.network.pretrained import described
from model.network.proposals import (
    LevelProposals,
    Proposals,
    best_of_all_levels,
    places_by_level,
    propose,
    used_by_level,
)
from model.network.pyramids import build_pyramid
from model.network.roi import Conv5Head, RoiHead, RoiPredictions
from model.network.rpn import LevelPredictions, RpnHead


class Detections(NamedTuple):
    """The artifact's outputs (docs/artifact.md), in its order.

    boxes [N, D, 4] float32, scores [N, D] float32, labels, levels [N, D] int64, counts [N] int64; proposals [N, D, 2]
    int64, (level's place, index in it) of the proposal behind each detection; proposal_boxes [N, L, K, 4] float32,
    proposal_scores [N, L, K] float32, proposal_counts [N, L] int64; of the caller's regions region_boxes [N, E, 4]
    float32, region_scores [N, E] float32, region_labels, region_levels [N, E] int64.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    levels: Tensor
    counts: Tensor
    proposals: Tensor
    proposal_boxes: Tensor
    proposal_scores: Tensor
    proposal_counts: Tensor
    region_boxes: Tensor
    region_scores: Tensor
    region_labels: Tensor
    region_levels: Tensor


class Detector(nn.Module):
    """FPN Faster R-CNN.

    Attributes:
        class_names: names of the foreground classes; index = label.
        category_ids: of each class its id in the data set; 1, 2, ... unless somebody says what they are.
        untrained: parts that no training has reached; those of stages.py.
        pooled_levels: those of the features' levels that the second stage looks at: all but those above the stages'.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, config: DetectorConfig, class_names: tuple[str, ...]) -> None:
        super().__init__()
        config = with_pixels(config)
        self._config = config
        self.class_names = class_names
        self.category_ids = tuple(range(1, len(class_names) + 1))
        self.untrained: frozenset[str] = frozenset()
        self.backbone = build_backbone(config.backbone)
        last_channels = self.backbone.channels[-1]
        stage = self.backbone.release_last_stage() if config.roi.head == "conv5" else None
        if config.pyramid.kind not in ("c4", "c5"):
            self.backbone.take(config.pyramid.strides)
        self.fpn = build_pyramid(config.pyramid, self.backbone.channels, self.backbone.strides)
        # where two maps have the same stride, equation 1 cannot tell them apart, and the first is looked at
        self.pooled_levels = tuple(sorted(set(self.fpn.stage_levels)))
        sizes = sizes_by_level(config.anchors, len(self.fpn.levels))
        anchors_per_cell = len(sizes[0]) * len(config.anchors.ratios)
        self.rpn = RpnHead(
            self.fpn.channels, config.pyramid.channels, anchors_per_cell, config.rpn.conv_depth
        )
        self.roi = (
            RoiHead(self.fpn.channels, len(class_names), config.roi)
            if stage is None
            else Conv5Head(stage, last_channels, len(class_names))
        )
        self.register_buffer("mean", _by_channel(config.pixels.mean), persistent=False)
        self.register_buffer("std", _by_channel(config.pixels.std), persistent=False)
        for place, level_sizes in enumerate(sizes):
            cells = cell_anchors(level_sizes, config.anchors.ratios, config.anchors.rounded)
            self.register_buffer(f"cell_anchors_{place}", cells, persistent=False)

    @property
    def device(self) -> torch.device:
        """Where it computes, and so where it takes images."""
        return self.mean.device

    @property
    def config(self) -> DetectorConfig:
        """All settings; a detector of others is built with them (`Checkpoint.detector`)."""
        return self._config

    @property
    def level_names(self) -> tuple[str, ...]:
        """The names of the levels that proposals are made on, finest first: P2 for 2, P5b for a second one of 5."""
        levels = self.fpn.levels
        return tuple(
            f"P{level}" + "b" * levels[:place].count(level) for place, level in enumerate(levels)
        )

    def normalise(self, images: Tensor, sizes: Tensor) -> Tensor:
        """Float32 [N, 3, H, W]: uint8 RGB `images` less mean over deviation, channels in the configuration's order.

        It is exactly zero outside the content `sizes`.
        """
        _, _, H, W = images.shape
        row = torch.arange(H, device=images.device)[None, :, None]
        column = torch.arange(W, device=images.device)[None, None, :]
        inside = (row < sizes[:, 0, None, None]) & (column < sizes[:, 1, None, None])  # (N, H, W)
        pixels = self.config.pixels
        if pixels.order == "bgr":
            images = images.flip(1)
        return (images / pixels.scale - self.mean) / self.std * inside[:, None]

    def forward(self, images: Tensor) -> tuple[tuple[Tensor, ...], list[LevelPredictions]]:
        """The pyramid and the proposal head's predictions on it, for normalised `images`."""
        pyramid = self.features(images)
        return pyramid, self.rpn(pyramid)

    def features(self, images: Tensor) -> tuple[Tensor, ...]:
        """The pyramid, or what stands in its place, for normalised `images`."""
        pyramid: tuple[Tensor, ...] = self.fpn(self.backbone(images))
        return pyramid

    def levels_of(self, boxes: Tensor) -> Tensor:
        """The level int64 [...] that the second stage pools each of `boxes` [..., 4] from."""
        return assign_levels(boxes, self.config.roi, self.pooled_levels)

    def classify(self, pyramid: tuple[Tensor, ...], regions: Regions) -> RoiPredictions:
        """What the second stage says of each of `regions`."""
        pooled, order = pool_in_reading_order(pyramid, regions, self.config.roi, self.pooled_levels)
        predictions: RoiPredictions = self.roi(pooled)
        place = order.argsort()
        return RoiPredictions(predictions.logits[place], predictions.deltas[place])

    def anchors(self, pyramid: tuple[Tensor, ...]) -> list[AnchorGrid]:
        """The anchors of every level of `pyramid`, in pixels of the input."""
        H, W = (side * 2 ** self.fpn.levels[0] for side in pyramid[0].shape[-2:])
        by_frame = self.config.anchors.stride == "frame"
        anchors = []
        for place, (features, level) in enumerate(zip(pyramid, self.fpn.levels, strict=True)):
            height, width = features.shape[-2:]
            strides = (H // height, W // width) if by_frame else (2**level, 2**level)
            cells = self.get_buffer(f"cell_anchors_{place}")
            anchors.append(AnchorGrid(cells, height, width, strides))
        return anchors

    def propose(self, images: Tensor, sizes: Tensor) -> LevelProposals:
        """The proposals, by level, that `detect` would feed to the second stage, which does not run."""
        pyramid, predictions = self(self.normalise(images, sizes))
        return self._by_level(self._proposals(pyramid, predictions, sizes))

    def detect_among(
        self, images: Tensor, sizes: Tensor, boxes: Tensor, valid: Tensor
    ) -> FinalBoxes:
        """Detections made of given proposals `boxes` [N, R, 4], of which the `valid` [N, R] are real."""
        pyramid = self.features(self.normalise(images, sizes))
        probs, deltas = self._class_probs(pyramid, boxes, self.levels_of(boxes), valid)
        return best_detections(boxes, probs, deltas, sizes, self.config.roi)

    def detect(self, images: Tensor, sizes: Tensor, regions: Tensor | None = None) -> Detections:
        """Detections and proposals of a batch, and what the caller's own regions hold, in pixels of the frame.

        Args:
            images: uint8 [N, 3, H, W] RGB, content top-left; H and W multiples of `FRAME_STRIDE`.
            sizes: int64 [N, 2], (height, width) of each content.
            regions: float32 [N, E, 4] xyxy, E = 0 allowed; a box without area is none. They change no detection.
        """
        if regions is None:
            regions = self.mean.new_zeros((images.shape[0], 0, 4))
        pyramid, predictions = self(self.normalise(images, sizes))
        proposals = self._proposals(pyramid, predictions, sizes)
        R = proposals.boxes.shape[1]
        boxes = torch.cat([proposals.boxes, regions], dim=1)  # (N, R + E, 4)
        valid = torch.cat([proposals.valid, at_least(regions, self.config.roi.min_size)], dim=1)
        levels = self.levels_of(boxes)
        probs, deltas = self._class_probs(pyramid, boxes, levels, valid)
        roi = self.config.roi
        final = best_detections(proposals.boxes, probs[:, :R], deltas[:, :R], sizes, roi)
        refined = refined_regions(regions, probs[:, R:], deltas[:, R:], sizes, roi)
        real = (final.scores > 0).to(torch.int64)
        places = self._places(proposals).gather(1, final.sources[..., None].expand(-1, -1, 2))
        return Detections(
            *final[:3],
            levels[:, :R].gather(1, final.sources) * real,
            final.counts,
            places * real[..., None],
            *_reported(self._by_level(proposals)),
            *refined,
            levels[:, R:] * (refined.scores > 0),
        )

    def _proposals(
        self, pyramid: tuple[Tensor, ...], predictions: list[LevelPredictions], sizes: Tensor
    ) -> Proposals:
        """The best proposals of all levels."""
        rpn = self.config.rpn
        by_level = propose(predictions, self.anchors(pyramid), sizes, rpn, rpn.pre_nms_test)
        return best_of_all_levels(by_level, rpn.post_nms_test)

    def _places(self, proposals: Proposals) -> Tensor:
        """Where each of `proposals` stands in `_by_level`: int64 [N, R, 2], level and rank in it."""
        return places_by_level(proposals, len(self.fpn.levels), self.config.rpn.pre_nms_test)

    def _by_level(self, proposals: Proposals) -> LevelProposals:
        return used_by_level(proposals, len(self.fpn.levels), self.config.rpn.pre_nms_test)

    def _class_probs(
        self, pyramid: tuple[Tensor, ...], boxes: Tensor, levels: Tensor, valid: Tensor
    ) -> tuple[Tensor, Tensor]:
        """What the second stage says of `boxes` [N, R, 4], pooled from `levels` [N, R]: probabilities and deltas.

        [N, R, C], zero where a box is not `valid` [N, R], and [N, R, C, 4].
        """
        N, R, _ = boxes.shape
        owner = torch.arange(N, device=boxes.device)[:, None].expand(N, R).flatten()
        # (N, R, 4) -> (N*R, 4)
        regions = Regions(boxes.flatten(0, 1), owner, levels.flatten())
        logits, deltas = self.classify(pyramid, regions)
        probs = class_probs(torch.unflatten(logits, 0, (N, R)), valid)
        return probs, torch.unflatten(deltas, 0, (N, R))  # (N*R, C, 4) -> (N, R, C, 4)


def with_pixels(config: DetectorConfig) -> DetectorConfig:
    """`config` with the mean and the deviation of pixels: where it leaves them open, those of the backbone's weights.

    Raises:
        UnfitNetwork: these do not say.
    """
    pixels = config.pixels
    if pixels.mean is not None and pixels.std is not None:
        return config
    mean, std = described(config.backbone)
    pixels = replace(pixels, mean=pixels.mean or mean, std=pixels.std or std)
    return replace(config, pixels=pixels)


def _by_channel(values: tuple[float, float, float] | None) -> Tensor:
    assert values is not None  # with_pixels
    return torch.tensor(values).reshape(3, 1, 1)


def _reported(proposals: LevelProposals) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes [N, L, K, 4], objectness probabilities [N, L, K] and counts [N, L] of what fed the second stage."""
    probs = proposals.logits.sigmoid()  # of minus infinity: zero
    return proposals.boxes, probs, proposals.valid.sum(dim=-1)
