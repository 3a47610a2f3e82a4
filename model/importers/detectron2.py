"""Detectron2's faster_rcnn_R_50_FPN and R_101_FPN: their names, and all that goes with the weights and is not in them.

Source: Detectron2's modeling (backbone/resnet, backbone/fpn, proposal_generator, roi_heads), its configs
Base-RCNN-FPN and faster_rcnn_R_*_FPN, and checkpoint/detection_checkpoint.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from zipfile import is_zipfile

import numpy as np
import torch

from model.config.detector import (
    BackboneConfig,
    BackboneName,
    DetectorConfig,
    PixelConfig,
    RoiConfig,
    RpnConfig,
)
from model.config.files import changed
from model.config.resize import ResizeRule
from model.importers.arrays import read_arrays
from model.importers.layout import Layout, imported, named_classes, weights_of
from model.importers.torchvision import coco_classes
from model.network.detector import Detector
from model.network.torch_file import read_torch_file

DETECTRON2 = Layout(
    model="the weights of Detectron2's faster_rcnn_R_50_FPN or R_101_FPN",
    layers={
        "backbone.stem.0": (
            "backbone.bottom_up.stem.conv1",
            "backbone.bottom_up.stem.conv1.norm",
        ),
        "backbone.stages.{i}.{b}.conv{j}": (
            "backbone.bottom_up.res{k}.{b}.conv{j}",
            "backbone.bottom_up.res{k}.{b}.conv{j}.norm",
        ),
        "backbone.stages.{i}.0.downsample.0": (
            "backbone.bottom_up.res{k}.0.shortcut",
            "backbone.bottom_up.res{k}.0.shortcut.norm",
        ),
        "fpn.laterals.{i}": ("backbone.fpn_lateral{k}", None),
        "fpn.outputs.{i}": ("backbone.fpn_output{k}", None),
        "rpn.conv": ("proposal_generator.rpn_head.conv", None),
        "rpn.logits": ("proposal_generator.rpn_head.objectness_logits", None),
        "rpn.deltas": ("proposal_generator.rpn_head.anchor_deltas", None),
        "roi.fc1": ("roi_heads.box_head.fc1", None),
        "roi.fc2": ("roi_heads.box_head.fc2", None),
        "roi.logits": ("roi_heads.box_predictor.cls_score", None),
        "roi.deltas": ("roi_heads.box_predictor.bbox_pred", None),
    },
    background="last",
    # Constants of the configuration, which older files hold as well.
    ignored=(
        "num_batches_tracked",
        "pixel_mean",
        "pixel_std",
        *(f"anchor_generator.cell_anchors.{i}" for i in range(5)),
    ),
)

# Detectron2 keeps every side above 0, and after the last suppression drops what is empty.
ABOVE_ZERO = float(np.finfo(np.float32).tiny)


def read_detectron2(path: Path) -> object:
    """The content of a torch file, or of a .pkl of arrays, none of whose code is run.

    Raises:
        UnreadableFile: it is something else.
    """
    pickled = path.suffix.lower() in (".pkl", ".pickle") and not is_zipfile(path)
    return read_arrays(path) if pickled else read_torch_file(path)


def import_detectron2(
    content: object, class_names: tuple[str, ...] = (), settings: Sequence[str] = ()
) -> Detector:
    """The detector of a file's `content`.

    Args:
        content: a state dict of tensors or arrays, or a dict with one under "model".
        class_names: in label order; none are needed for COCO's 80.
        settings: other than those of Base-RCNN-FPN, as "resize.short_side=400": what no state dict says.

    Raises:
        Refused: it is the state dict of something else, or of other settings.
    """
    state = _tensors(weights_of(content, DETECTRON2))
    config = changed(detectron2_config(DETECTRON2.network(state)), settings, "detectron2")
    published = {
        name: number
        for number, name in enumerate(coco_classes(), start=1)
        if not name.startswith("unused")
    }
    names = named_classes(DETECTRON2.num_classes(state), class_names, tuple(published))
    detector = imported(DETECTRON2, state, config, names)
    if names == tuple(published):
        detector.category_ids = tuple(published.values())
    return detector


def detectron2_config(network: BackboneName) -> DetectorConfig:
    """What Detectron2's model is beside its weights."""
    return DetectorConfig(
        resize=ResizeRule(800, 1333, "round", "pillow-bilinear"),
        pixels=PixelConfig("bgr", 1.0, (103.53, 116.28, 123.675), (1.0, 1.0, 1.0)),
        backbone=BackboneConfig(network, weights="none", stride_in="1x1", norm_epsilon=1e-5),
        rpn=RpnConfig(min_size=ABOVE_ZERO, box_loss_beta=0.0, post_nms_train=1000),
        roi=RoiConfig(sampling_ratio=0, aligned=True, min_size=ABOVE_ZERO, box_loss_beta=0.0),
    )


def _tensors(state: Mapping[str, object]) -> dict[str, object]:
    """`state` with arrays as tensors of this machine's byte order."""
    return {
        key: torch.from_numpy(value.astype(value.dtype.newbyteorder("=")))
        if isinstance(value, np.ndarray)
        else value
        for key, value in state.items()
    }
