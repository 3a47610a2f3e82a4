"""Every setting of a detector, as frozen dataclasses nested as the model is.

Built once (files.py), passed whole, and saved in the checkpoint. Unknown keys and values of the wrong type are
refused. The defaults are the paper's (arXiv 1612.03144, sections 3 to 5); where the paper is silent, each
class says whose they are.
"""

from dataclasses import field
from difflib import get_close_matches
from itertools import pairwise
from typing import Annotated, Literal, Self, get_args

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from model.config.resize import ResizeRule
from model.config.types import STRICT, Fraction, Length, NonNegative, Positive

BackboneName = Literal[
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "resnext50_32x4d",
    "resnext101_32x4d",
    "resnext101_32x8d",
    "resnext101_64x4d",
    "mobilenet_v2",
]
PyramidKind = Literal["fpn", "finest", "bottom_up", "no_lateral", "c4", "c5"]
NormKind = Literal["none", "batch", "group"]
# Beside the names of BackboneName: any network of these packages.
PACKAGES = ("torchvision:", "timm:")
BASIC_NETWORKS = ("resnet18", "resnet34", "mobilenet_v2")
# What a frame is a multiple of, so that the maps of these strides are exactly half of one another.
STRIDES = (4, 8, 16, 32)


@dataclass(frozen=True, config=STRICT)
class PixelConfig:
    """What becomes of an 8-bit RGB pixel before the network: (pixel / scale - mean) / std, channels in `order`.

    A mean or a deviation that is not given is what the backbone's weights expect, by their own description: ImageNet's
    for all names without a package. The checkpoint holds the numbers.
    """

    order: Literal["rgb", "bgr"] = "rgb"
    scale: Length = 255.0
    mean: tuple[float, float, float] | None = None
    std: tuple[Length, Length, Length] | None = None


@dataclass(frozen=True, config=STRICT)
class BackboneConfig:
    """Which bottom-up network, and how much of it stays fixed.

    Attributes:
        name: one of `BackboneName`, or any other of a package's: "torchvision:efficientnet_b0", "timm:hrnet_w18".
        weights: "hub" (the package's ImageNet file, downloaded), the path of a state dict, or "none" (random, and
            norms that do nothing: for tests).
        frozen_stages: 0 trains everything, 1 fixes the stem, 2 the stem and C2 (Detectron2's FREEZE_AT 2), ... 5 all.
        stride_in: which convolution of a bottleneck halves the map: torchvision's 3x3, or the 1x1 of the original
            Caffe networks (Detectron2's MSRA files).
        norm_epsilon: added to a norm's variance when it is folded; the network's own where none is given.
        taps: modules whose outputs the pyramid takes, where those before each halving are not the ones that are meant;
            of networks by their package's name only.
        dilated: whether the last stage of a ResNet keeps the stride of the one before, at a dilation of 2 (DC5).
    """

    name: str = "resnet50"
    weights: str = "hub"
    frozen_stages: Annotated[int, Field(ge=0, le=5)] = 2
    stride_in: Literal["3x3", "1x1"] = "3x3"
    norm_epsilon: Annotated[float, Field(ge=0)] | None = None
    taps: tuple[str, ...] = ()
    dilated: bool = False

    @property
    def package(self) -> str:
        """The prefix of the name: one of PACKAGES, or nothing."""
        return next((prefix for prefix in PACKAGES if self.name.startswith(prefix)), "")

    @model_validator(mode="after")
    def _is_known(self) -> Self:
        names = get_args(BackboneName)
        if not self.package and self.name not in names:
            near = get_close_matches(self.name, names, n=3, cutoff=0.0)
            raise ValueError(
                f"expected a backbone of {', '.join(near)} and others, or torchvision:NAME or timm:NAME, got"
                f" {self.name}"
            )
        if self.taps and not self.package:
            raise ValueError(
                f"taps are of networks by their package's name; {self.name} has its own"
            )
        return self

    @model_validator(mode="after")
    def _only_bottlenecks_have_both(self) -> Self:
        changed = "stride_in" if self.stride_in == "1x1" else "dilated" if self.dilated else ""
        if changed and (self.package or self.name in BASIC_NETWORKS):
            raise ValueError(f"{self.name} has no bottlenecks whose {changed} could be another")
        return self


@dataclass(frozen=True, config=STRICT)
class PyramidConfig:
    """Which features both stages look at (section 3; pyramids.py has the rows of tables 1 to 3 that are not "fpn").

    Attributes:
        kind: "fpn", or what an ablation leaves of it: its "finest" map, a "bottom_up" pyramid, a top-down one with
            "no_lateral", or the backbone's "c4" or "c5" as it is.
        channels: the paper's d; of the proposal head's 3x3 convolution also where there is no pyramid.
        strides: of the backbone's maps that are taken, each twice the one before. The last may come twice:
            torchvision's MobileNetV3 takes two maps of stride 32.
        top: what makes the levels above, for proposals only: the last one "pool"ed, a "convolution" of stride 2, or
            "none".
        top_levels: how many.
        norm: of every convolution of the pyramid; "batch" norms are frozen, as the backbone's are.
    """

    kind: PyramidKind = "fpn"
    channels: Positive = 256
    strides: Annotated[tuple[int, ...], Field(min_length=1)] = (4, 8, 16, 32)
    top: Literal["pool", "convolution", "none"] = "pool"
    top_levels: Positive = 1
    norm: NormKind = "none"

    @model_validator(mode="after")
    def _strides_double(self) -> Self:
        unknown = [stride for stride in self.strides if stride not in STRIDES]
        steps = [after / before for before, after in pairwise(self.strides)]
        if unknown or any(step != 2 for step in steps[:-1]) or steps[-1:] not in ([], [1], [2]):
            raise ValueError(
                f"expected strides of {STRIDES}, each twice the one before (the last may come twice), got"
                f" {self.strides}"
            )
        return self

    @property
    def stage_levels(self) -> tuple[int, ...]:
        """The levels of the maps that are made of the backbone's: level k has stride 2^k."""
        return tuple(stride.bit_length() - 1 for stride in self.strides)

    @property
    def levels(self) -> tuple[int, ...]:
        """Those and the levels above."""
        last = self.stage_levels[-1]
        above = 0 if self.top == "none" else self.top_levels
        return (*self.stage_levels, *range(last + 1, last + 1 + above))


@dataclass(frozen=True, config=STRICT)
class AnchorConfig:
    """One anchor scale a level, finest first, and ratios height / width (section 4.1).

    On a single map, as in tables 1 (a), (b) and (f), every cell has all the scales.

    Attributes:
        shared: whether every level has all of them.
        rounded: whether an anchor's corners, seen from its centre, are whole pixels (torchvision).
        stride: the level's own (4 to 64), or the frame's side over the level's cells, rounded down (torchvision):
            at a side of 800 the 13 cells of P6 then stand 61 apart.
    """

    sizes: Annotated[tuple[Length, ...], Field(min_length=1)] = (32.0, 64.0, 128.0, 256.0, 512.0)
    ratios: Annotated[tuple[Length, ...], Field(min_length=1)] = (0.5, 1.0, 2.0)
    shared: bool = False
    rounded: bool = False
    stride: Literal["level", "frame"] = "level"


@dataclass(frozen=True, config=STRICT)
class RpnConfig:
    """Region proposals on the pyramid (section 4.1).

    Positive fraction, NMS threshold and counts before it are Detectron's; the least size of a proposal is
    torchvision's, and the beta of the smooth L1 loss both's. Of the counts after NMS, the paper gives both.

    Attributes:
        conv_depth: how many 3x3 convolutions the head has.
        score_threshold: what the probability of a proposal must reach.
    """

    conv_depth: Positive = 1
    score_threshold: Annotated[float, Field(ge=0, lt=1)] = 0.0
    foreground_iou: Fraction = 0.7
    background_iou: Fraction = 0.3
    batch_per_image: Positive = 256
    positive_fraction: Fraction = 0.5
    box_loss_beta: Annotated[float, Field(ge=0)] = 1 / 9
    nms_iou: Fraction = 0.7
    min_size: Annotated[float, Field(ge=0)] = 1e-3
    pre_nms_train: Positive = 2000
    pre_nms_test: Positive = 1000
    post_nms_train: Positive = 2000
    post_nms_test: Positive = 1000

    @model_validator(mode="after")
    def _background_below_foreground(self) -> Self:
        low, high = self.background_iou, self.foreground_iou
        if low > high:
            raise ValueError(f"expected background_iou <= foreground_iou, got {low} and {high}")
        return self


@dataclass(frozen=True, config=STRICT)
class RoiConfig:
    """Fast R-CNN on the pyramid (section 4.2).

    Thresholds, box weights and limits at test are Detectron's; RoIAlign with two samples a bin is torchvision's, its
    alignment Detectron2's; the least size of a detection and the beta of the smooth L1 loss are torchvision's.

    Attributes:
        head: "fc", 3x3 convolutions of `conv_channels` each and then `fc_layers` of `fc_channels`, or "conv5", the
            backbone's last stage on C4 (tables 2 and 3, row a).
        norm: of the head's convolutions; "batch" norms are frozen.
        pooling: "align" is RoIAlign; "pool" the paper's own RoIPool, which has no samples and no alignment.
        sampling_ratio: samples a bin and direction; 0 means one for each feature cell begun (Detectron2).
        max_candidates: best (proposal, class) pairs an image that enter the last NMS.
    """

    head: Literal["fc", "conv5"] = "fc"
    pooling: Literal["align", "pool"] = "align"
    resolution: Positive = 7
    sampling_ratio: NonNegative = 2
    aligned: bool = True
    canonical_size: Length = 224.0
    canonical_level: int = 4
    conv_channels: tuple[Positive, ...] = ()
    norm: NormKind = "none"
    fc_layers: Positive = 2
    fc_channels: Positive = 1024
    foreground_iou: Fraction = 0.5
    batch_per_image: Positive = 512
    positive_fraction: Fraction = 0.25
    box_weights: tuple[float, float, float, float] = (10.0, 10.0, 5.0, 5.0)
    box_loss_beta: Annotated[float, Field(ge=0)] = 1 / 9
    score_threshold: Annotated[float, Field(ge=0, lt=1)] = 0.05
    nms_iou: Fraction = 0.5
    min_size: Annotated[float, Field(ge=0)] = 1e-2
    max_candidates: Positive = 1000
    max_detections: Positive = 100


@dataclass(frozen=True, config=STRICT)
class DetectorConfig:
    """All of a detector that is not its weights or its class names."""

    resize: ResizeRule = field(default_factory=ResizeRule)
    pixels: PixelConfig = field(default_factory=PixelConfig)
    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    pyramid: PyramidConfig = field(default_factory=PyramidConfig)
    anchors: AnchorConfig = field(default_factory=AnchorConfig)
    rpn: RpnConfig = field(default_factory=RpnConfig)
    roi: RoiConfig = field(default_factory=RoiConfig)

    @model_validator(mode="after")
    def _conv5_belongs_to_c4(self) -> Self:
        if (self.pyramid.kind == "c4") != (self.roi.head == "conv5"):
            raise ValueError(
                "expected pyramid.kind 'c4' with roi.head 'conv5', the stage that follows C4, and neither without the"
                f" other; got {self.pyramid.kind!r} with {self.roi.head!r}"
            )
        return self

    @model_validator(mode="after")
    def _anchors_fit_the_levels(self) -> Self:
        sizes, levels = len(self.anchors.sizes), len(self.pyramid.levels)
        several = self.pyramid.kind in ("fpn", "bottom_up", "no_lateral") and levels > 1
        if several and not self.anchors.shared and sizes != levels:
            raise ValueError(
                f"expected anchors.sizes with one for each of {levels} levels of strides"
                f" {[2**k for k in self.pyramid.levels]}, or anchors.shared, got {sizes}"
            )
        return self
