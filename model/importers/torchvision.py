"""torchvision's fasterrcnn_resnet50_fpn: its names, and all that goes with its weights and is not in them.

Source: torchvision 0.29's models/detection (faster_rcnn, rpn, roi_heads, anchor_utils, transform).

The published COCO file scores 91 rows: the background, and the category ids 1 to 90, ten of which COCO never used.
Those ten stay in our softmax, as classes named "unused 12": without them every other probability would be another one
than torchvision's. A trained network never reports them, for it never saw an example.
"""

import re
from collections.abc import Mapping, Sequence

from torchvision.models.detection import FasterRCNN_ResNet50_FPN_Weights

from model.config.detector import (
    AnchorConfig,
    BackboneConfig,
    BackboneName,
    DetectorConfig,
    RoiConfig,
)
from model.config.files import changed
from model.config.resize import ResizeRule
from model.importers.layout import Layout, imported, named_classes, weights_of
from model.network.detector import Detector

TORCHVISION = Layout(
    model="the state dict of torchvision's fasterrcnn_resnet50_fpn",
    layers={
        "backbone.stem.0": ("backbone.body.conv1", "backbone.body.bn1"),
        "backbone.stages.{i}.{b}.conv{j}": (
            "backbone.body.layer{n}.{b}.conv{j}",
            "backbone.body.layer{n}.{b}.bn{j}",
        ),
        "backbone.stages.{i}.0.downsample.0": (
            "backbone.body.layer{n}.0.downsample.0",
            "backbone.body.layer{n}.0.downsample.1",
        ),
        "fpn.laterals.{i}": ("backbone.fpn.inner_blocks.{i}.0", None),
        "fpn.outputs.{i}": ("backbone.fpn.layer_blocks.{i}.0", None),
        "rpn.conv": ("rpn.head.conv.0.0", None),
        "rpn.logits": ("rpn.head.cls_logits", None),
        "rpn.deltas": ("rpn.head.bbox_pred", None),
        "roi.fc1": ("roi_heads.box_head.fc6", None),
        "roi.fc2": ("roi_heads.box_head.fc7", None),
        "roi.logits": ("roi_heads.box_predictor.cls_score", None),
        "roi.deltas": ("roi_heads.box_predictor.bbox_pred", None),
    },
    background="first",
    ignored=("num_batches_tracked",),
)

# Keys of before the pyramid's and the head's convolutions became Sequentials, as in the published file.
_OLD = (
    (re.compile(r"^(backbone\.fpn\.(?:inner|layer)_blocks\.\d)\.(weight|bias)$"), r"\1.0.\2"),
    (re.compile(r"^rpn\.head\.conv\.(weight|bias)$"), r"rpn.head.conv.0.0.\1"),
)


def import_torchvision(
    content: object,
    class_names: tuple[str, ...] = (),
    norm_epsilon: float = 0.0,
    settings: Sequence[str] = (),
) -> Detector:
    """The detector of a file's `content`.

    Args:
        content: a state dict, or a dict with one under "model".
        class_names: of the foreground, in label order; none are needed for COCO's 90.
        norm_epsilon: see `torchvision_config`.
        settings: other than torchvision's own, as "resize.short_side=400": what no state dict says.

    Raises:
        Refused: it is the state dict of something else, or of other settings.
    """
    state = current_names(weights_of(content, TORCHVISION))
    config = torchvision_config(TORCHVISION.network(state), norm_epsilon)
    config = changed(config, settings, "torchvision")
    names = named_classes(TORCHVISION.num_classes(state), class_names, coco_classes())
    return imported(TORCHVISION, state, config, names)


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
        resize=ResizeRule(800, 1333, "floor", "bilinear"),
        backbone=BackboneConfig(network, weights="none", norm_epsilon=norm_epsilon),
        anchors=AnchorConfig(rounded=True, stride="frame"),
        roi=RoiConfig(sampling_ratio=2, aligned=False),
    )
