"""torchvision's Faster R-CNNs: their names, and all that goes with their weights and is not in them.

Source: torchvision 0.29's models/detection (faster_rcnn, mask_rcnn, rpn, roi_heads, anchor_utils, transform).

The published COCO files score 91 rows: the background, and the category ids 1 to 90, ten of which COCO never used.
Those ten stay in our softmax, as classes named "unused 12": without them every other probability would be another one
than torchvision's. A trained network never reports them, for it never saw an example.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from torchvision.models.detection import FasterRCNN_ResNet50_FPN_Weights

from model.config.detector import (
    AnchorConfig,
    BackboneConfig,
    BackboneName,
    DetectorConfig,
    PyramidConfig,
    RoiConfig,
    RpnConfig,
)
from model.config.files import changed
from model.config.resize import ResizeRule
from model.importers.families import require_family
from model.importers.layout import ImportRefused, Layout, imported, named_classes, weights_of
from model.network.detector import Detector

_HEADS = {
    "fpn.laterals.{i}": ("backbone.fpn.inner_blocks.{i}.0", "backbone.fpn.inner_blocks.{i}.1"),
    "fpn.outputs.{i}": ("backbone.fpn.layer_blocks.{i}.0", "backbone.fpn.layer_blocks.{i}.1"),
    "rpn.logits": ("rpn.head.cls_logits", ""),
    "rpn.deltas": ("rpn.head.bbox_pred", ""),
    "roi.logits": ("roi_heads.box_predictor.cls_score", ""),
    "roi.deltas": ("roi_heads.box_predictor.bbox_pred", ""),
}
_RESNET = {
    "backbone.stem.0": ("backbone.body.conv1", "backbone.body.bn1"),
    "backbone.stages.{i}.{b}.conv{j}": (
        "backbone.body.layer{n}.{b}.conv{j}",
        "backbone.body.layer{n}.{b}.bn{j}",
    ),
    "backbone.stages.{i}.{b}.downsample.0": (
        "backbone.body.layer{n}.{b}.downsample.0",
        "backbone.body.layer{n}.{b}.downsample.1",
    ),
}
_MOBILENET = {
    "backbone.stem.{f}.0": ("backbone.body.{f}.0", "backbone.body.{f}.1"),
    "backbone.stem.{f}.{rest}.fc{j}": ("backbone.body.{f}.{rest}.fc{j}", ""),
    "backbone.stem.{f}.{rest}.0": ("backbone.body.{f}.{rest}.0", "backbone.body.{f}.{rest}.1"),
    "backbone.stages.{i}.{f}.0": ("backbone.body.{f}.0", "backbone.body.{f}.1"),
    "backbone.stages.{i}.{f}.{rest}.fc{j}": ("backbone.body.{f}.{rest}.fc{j}", ""),
    "backbone.stages.{i}.{f}.{rest}.0": (
        "backbone.body.{f}.{rest}.0",
        "backbone.body.{f}.{rest}.1",
    ),
}
_FULLY_CONNECTED = {
    "rpn.conv": ("rpn.head.conv.0.0", ""),
    "roi.fc1": ("roi_heads.box_head.fc6", ""),
    "roi.fc2": ("roi_heads.box_head.fc7", ""),
}
_CONVOLUTIONS = {
    "rpn.before.{i}": ("rpn.head.conv.{i}.0", ""),
    "rpn.conv": ("rpn.head.conv.1.0", ""),
    "roi.convs.{i}": ("roi_heads.box_head.{i}.0", "roi_heads.box_head.{i}.1"),
    "roi.fc1": ("roi_heads.box_head.5", ""),
}
_MASKS = {"roi_heads.mask_head.": "masks' head", "roi_heads.mask_predictor.": "masks' head"}

TORCHVISION = Layout(
    model="the state dict of torchvision's fasterrcnn_resnet50_fpn",
    layers=_HEADS | _RESNET | _FULLY_CONNECTED,
    background="first",
    left=_MASKS,
)
TORCHVISION_V2 = replace(
    TORCHVISION,
    model="the state dict of torchvision's fasterrcnn_resnet50_fpn_v2",
    layers=_HEADS | _RESNET | _CONVOLUTIONS,
)
TORCHVISION_MOBILENET = replace(
    TORCHVISION,
    model="the state dict of torchvision's fasterrcnn_mobilenet_v3_large_fpn",
    layers=_HEADS | _MOBILENET | _FULLY_CONNECTED,
    first_anchors="sizes",
)
# The models whose weights no tensor tells from another's.
SMALL = "fasterrcnn_mobilenet_v3_large_320_fpn"
EPSILON = 1e-5

# Keys of before the pyramid's and the head's convolutions became Sequentials, as in the published file.
_OLD = (
    (re.compile(r"^(backbone\.fpn\.(?:inner|layer)_blocks\.\d)\.(weight|bias)$"), r"\1.0.\2"),
    (re.compile(r"^rpn\.head\.conv\.(weight|bias)$"), r"rpn.head.conv.0.0.\1"),
)


def import_torchvision(
    content: object,
    class_names: tuple[str, ...] = (),
    norm_epsilon: float | None = None,
    settings: Sequence[str] = (),
    model: str = "",
) -> Detector:
    """The detector of a file's `content`.

    Args:
        content: a state dict, or a dict with one under "model".
        class_names: of the foreground, in label order; none are needed for COCO's 90.
        norm_epsilon: of the norms; without one, what torchvision's published file of that kind has.
        settings: other than torchvision's own, as "resize.short_side=400": what no state dict says.
        model: torchvision's name of it; of use where that is `SMALL`.

    Raises:
        Refused: it is the state dict of something else, or of other settings.
    """
    require_family(content, "torchvision")
    state = current_names(weights_of(content, TORCHVISION))
    layout, config = _kind_of(state, model)
    if norm_epsilon is not None:
        config = replace(config, backbone=replace(config.backbone, norm_epsilon=norm_epsilon))
    config = changed(config, settings, "torchvision")
    names = named_classes(layout.num_classes(state), class_names, coco_classes())
    return imported(layout, state, config, names)


def model_of(content: object) -> tuple[dict[str, object], str]:
    """The state dict in a file's `content`, and torchvision's name of a model that takes it, its masks apart.

    Raises:
        ImportRefused: it is the state dict of something else.
    """
    state = current_names(weights_of(content, TORCHVISION))
    layout, _ = _kind_of(state, "")
    names = {
        TORCHVISION.model: "fasterrcnn_resnet50_fpn",
        TORCHVISION_V2.model: "fasterrcnn_resnet50_fpn_v2",
        TORCHVISION_MOBILENET.model: "fasterrcnn_mobilenet_v3_large_fpn",
    }
    return state, names[layout.model]


def _kind_of(state: Mapping[str, object], model: str) -> tuple[Layout, DetectorConfig]:
    """The table that fits `state`, and what its model is beside its weights.

    Raises:
        ImportRefused: it is of a network that no table has, or not of the `model` that was named.
    """
    if "backbone.body.conv1.weight" not in state and "backbone.body.0.0.weight" in state:
        if model and "mobilenet" not in model:
            raise ImportRefused(f"expected the weights of {model}, got those of a MobileNetV3")
        return TORCHVISION_MOBILENET, mobilenet_config(small=model == SMALL)
    if "mobilenet" in model:
        raise ImportRefused(f"expected the weights of {model}, got those of a ResNet")
    if "roi_heads.box_head.5.weight" in state or "rpn.head.conv.1.0.weight" in state:
        return TORCHVISION_V2, torchvision_v2_config(TORCHVISION_V2.network(state))
    return TORCHVISION, torchvision_config(TORCHVISION.network(state))


def current_names(state: Mapping[str, object]) -> dict[str, object]:
    """`state` with older keys spelled as torchvision writes them now."""
    renamed = {}
    for key, value in state.items():
        for pattern, spelling in _OLD:
            key = pattern.sub(spelling, key)
        renamed[key] = value
    return renamed


def coco_classes() -> tuple[str, ...]:
    """The 90 classes of the published file, by COCO category id less one."""
    names = FasterRCNN_ResNet50_FPN_Weights.COCO_V1.meta["categories"]
    return tuple(f"unused {i}" if name == "N/A" else name for i, name in enumerate(names))[1:]


def torchvision_config(network: BackboneName, norm_epsilon: float = 0.0) -> DetectorConfig:
    """What torchvision's model is beside its weights.

    Args:
        network: the backbone.
        norm_epsilon: 0 in the published COCO file and what was trained on from it; 1e-5 in a model that was trained
            from a backbone's weights alone.
    """
    return DetectorConfig(
        resize=ResizeRule(800, 1333, "floor", "bilinear", "whole"),
        backbone=BackboneConfig(network, weights="none", norm_epsilon=norm_epsilon),
        anchors=AnchorConfig(rounded=True, stride="frame"),
        roi=RoiConfig(sampling_ratio=2, aligned=False),
    )


def torchvision_v2_config(network: BackboneName) -> DetectorConfig:
    """Of fasterrcnn_resnet50_fpn_v2: norms in the pyramid, and more convolutions in both heads."""
    config = torchvision_config(network, EPSILON)
    return replace(
        config,
        pyramid=replace(config.pyramid, norm="batch"),
        rpn=replace(config.rpn, conv_depth=2),
        roi=replace(config.roi, conv_channels=(256,) * 4, norm="batch", fc_layers=1),
    )


def mobilenet_config(small: bool = False) -> DetectorConfig:
    """Of fasterrcnn_mobilenet_v3_large_fpn, or the `small` one for images of 320: two maps of stride 32 and a pool."""
    candidates = {"pre_nms_test": 150, "post_nms_test": 150} if small else {}
    return DetectorConfig(
        resize=ResizeRule(*((320, 640) if small else (800, 1333)), "floor", "bilinear", "whole"),
        backbone=BackboneConfig(
            "torchvision:mobilenet_v3_large",
            weights="none",
            norm_epsilon=EPSILON,
            taps=("features.13", "features.16"),
        ),
        pyramid=PyramidConfig(strides=(32, 32)),
        anchors=AnchorConfig(shared=True, rounded=True, stride="frame"),
        rpn=RpnConfig(score_threshold=0.05, **candidates),
        roi=RoiConfig(sampling_ratio=2, aligned=False),
    )
