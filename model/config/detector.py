"""Every setting of a detector, as frozen dataclasses nested as the model is.

Built once (files.py), passed whole, and saved in the checkpoint. Unknown keys and values of the wrong type are
refused. The defaults are the paper's (arXiv 1612.03144, sections 3 to 5); where the paper is silent, each
class says whose they are.
"""

from dataclasses import field
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from model.config.resize import ResizeRule
from model.config.types import STRICT, Fraction, Length, NonNegative, Positive

BackboneName = Literal["resnet18", "resnet34", "resnet50", "resnet101", "mobilenet_v2"]
PyramidKind = Literal["fpn", "finest", "bottom_up", "no_lateral", "c4", "c5"]
BOTTLENECK_NETWORKS = ("resnet50", "resnet101")


@dataclass(frozen=True, config=STRICT)
class PixelConfig:
    """What becomes of an 8-bit RGB pixel before the network: (pixel / scale - mean) / std, channels in `order`.

    The defaults are ImageNet's, as torchvision's weights expect them.
    """

    order: Literal["rgb", "bgr"] = "rgb"
    scale: Length = 255.0
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[Length, Length, Length] = (0.229, 0.224, 0.225)


@dataclass(frozen=True, config=STRICT)
class BackboneConfig:
    """Which bottom-up network, and how much of it stays fixed.

    Attributes:
        name: one of torchvision's networks.
        weights: "hub" (torchvision's ImageNet file, downloaded), the path of a state dict, or "none" (random, and
            norms that do nothing: for tests).
        frozen_stages: 0 trains everything, 1 fixes the stem, 2 the stem and C2 (Detectron2's FREEZE_AT 2), ... 5 all.
        stride_in: which convolution of a bottleneck halves the map: torchvision's 3x3, or the 1x1 of the original
            Caffe networks (Detectron2's MSRA files).
        norm_epsilon: added to a norm's variance when it is folded.
    """

    name: BackboneName = "resnet50"
    weights: str = "hub"
    frozen_stages: Annotated[int, Field(ge=0, le=5)] = 2
    stride_in: Literal["3x3", "1x1"] = "3x3"
    norm_epsilon: Annotated[float, Field(ge=0)] = 1e-5

    @model_validator(mode="after")
    def _only_bottlenecks_have_both(self) -> Self:
        if self.stride_in == "1x1" and self.name not in BOTTLENECK_NETWORKS:
            raise ValueError(f"{self.name} has no bottlenecks with a 1x1 to stride in")
        return self


@dataclass(frozen=True, config=STRICT)
class PyramidConfig:
    """Which features both stages look at (section 3; pyramids.py has the rows of tables 1 to 3 that are not "fpn").

    Attributes:
        kind: "fpn", or what an ablation leaves of it: its "finest" map, a "bottom_up" pyramid, a top-down one with
            "no_lateral", or the backbone's "c4" or "c5" as it is.
        channels: the paper's d; of the proposal head's 3x3 convolution also where there is no pyramid.
    """

    kind: PyramidKind = "fpn"
    channels: Positive = 256


@dataclass(frozen=True, config=STRICT)
class AnchorConfig:
    """One anchor scale a level, P2..P6, and ratios height / width (section 4.1).

    On a single map, as in tables 1 (a), (b) and (f), every cell has all five scales.

    Attributes:
        rounded: whether an anchor's corners, seen from its centre, are whole pixels (torchvision).
        stride: the level's own (4 to 64), or the frame's side over the level's cells, rounded down (torchvision):
            at a side of 800 the 13 cells of P6 then stand 61 apart.
    """

    sizes: tuple[Length, Length, Length, Length, Length] = (32.0, 64.0, 128.0, 256.0, 512.0)
    ratios: Annotated[tuple[Length, ...], Field(min_length=1)] = (0.5, 1.0, 2.0)
    rounded: bool = False
    stride: Literal["level", "frame"] = "level"


@dataclass(frozen=True, config=STRICT)
class RpnConfig:
    """Region proposals on the pyramid (section 4.1).

    Positive fraction, NMS threshold and counts before it are Detectron's; the least size of a proposal is
    torchvision's, and the beta of the smooth L1 loss both's. Of the counts after NMS, the paper gives both.
    """

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
        head: "fc", two layers of `fc_channels`, or "conv5", the backbone's last stage on C4 (tables 2 and 3, row a).
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
