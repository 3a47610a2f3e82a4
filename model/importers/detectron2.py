"""Detectron2's Faster R-CNNs: their names, and all that goes with the weights and is not in them.

Source: Detectron2's modeling (backbone/resnet, backbone/fpn, proposal_generator, roi_heads), its configs
Base-RCNN-{FPN,C4,DilatedC5} and faster_rcnn_*, and checkpoint/detection_checkpoint.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal
from zipfile import is_zipfile

import numpy as np
import torch

from model.config.detector import (
    BackboneConfig,
    BackboneName,
    DetectorConfig,
    PixelConfig,
    PyramidConfig,
    RoiConfig,
    RpnConfig,
)
from model.config.files import changed
from model.config.resize import ResizeRule
from model.importers.arrays import read_arrays
from model.importers.coco import imported_of_coco
from model.importers.families import require_family
from model.importers.layout import Layout, weights_of
from model.network.detector import Detector
from model.network.torch_file import read_torch_file

_HEADS = {
    "rpn.conv": ("proposal_generator.rpn_head.conv", ""),
    "rpn.logits": ("proposal_generator.rpn_head.objectness_logits", ""),
    "rpn.deltas": ("proposal_generator.rpn_head.anchor_deltas", ""),
    "roi.fc{i}": ("roi_heads.box_head.fc{i}", ""),
    "roi.logits": ("roi_heads.box_predictor.cls_score", ""),
    "roi.deltas": ("roi_heads.box_predictor.bbox_pred", ""),
}


def _resnet(where: str) -> dict[str, tuple[str, str]]:
    stem, stage = f"{where}stem.conv1", where + "res{k}.{b}."
    return {
        "backbone.stem.0": (stem, f"{stem}.norm"),
        "backbone.stages.{i}.{b}.conv{j}": (stage + "conv{j}", stage + "conv{j}.norm"),
        "backbone.stages.{i}.{b}.downsample.0": (stage + "shortcut", stage + "shortcut.norm"),
    }


DETECTRON2 = Layout(
    model="the weights of Detectron2's faster_rcnn_R_50_FPN, R_101_FPN or X_101_32x8d_FPN",
    layers={
        **_resnet("backbone.bottom_up."),
        "fpn.laterals.{i}": ("backbone.fpn_lateral{k}", "backbone.fpn_lateral{k}.norm"),
        "fpn.outputs.{i}": ("backbone.fpn_output{k}", "backbone.fpn_output{k}.norm"),
        **_HEADS,
    },
    background="last",
    # Constants of the configuration, which older files hold as well.
    ignored=(
        "num_batches_tracked",
        "pixel_mean",
        "pixel_std",
        *(f"anchor_generator.cell_anchors.{i}" for i in range(5)),
    ),
    left={"roi_heads.mask_head.": "masks' head", "roi_heads.mask_pooler.": "masks' head"},
)
# The stage that follows C4 is the second stage's head.
DETECTRON2_C4 = replace(
    DETECTRON2,
    model="the weights of Detectron2's faster_rcnn_R_50_C4 or R_101_C4",
    layers={
        **_resnet("backbone."),
        "roi.stage.{b}.conv{j}": ("roi_heads.res5.{b}.conv{j}", "roi_heads.res5.{b}.conv{j}.norm"),
        "roi.stage.{b}.downsample.0": (
            "roi_heads.res5.{b}.shortcut",
            "roi_heads.res5.{b}.shortcut.norm",
        ),
        **_HEADS,
    },
)
DETECTRON2_DC5 = replace(
    DETECTRON2,
    model="the weights of Detectron2's faster_rcnn_R_50_DC5 or R_101_DC5",
    layers={**_resnet("backbone."), **_HEADS},
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
    require_family(content, "detectron2")
    state = detectron2_weights(content)
    layout, config = _kind_of(state)
    config = changed(config, settings, "detectron2")
    return imported_of_coco(layout, state, config, class_names)


def detectron2_weights(content: object) -> dict[str, object]:
    """The tensors in a file's `content`.

    Raises:
        ImportRefused: there are none of such a model.
    """
    return _tensors(weights_of(content, DETECTRON2))


def _kind_of(state: Mapping[str, object]) -> tuple[Layout, DetectorConfig]:
    """The table that fits `state`, and what its model is beside its weights."""
    if "backbone.stem.conv1.weight" not in state:
        return DETECTRON2, detectron2_config(DETECTRON2.network(state))
    if "roi_heads.res5.0.conv1.weight" in state:
        return DETECTRON2_C4, single_map_config(DETECTRON2_C4.network(state), "c4")
    return DETECTRON2_DC5, single_map_config(DETECTRON2_DC5.network(state), "c5")


def detectron2_config(network: BackboneName) -> DetectorConfig:
    """What Detectron2's FPN model is beside its weights: those of ResNeXt are of other pixels and strides."""
    grouped = network.startswith("resnext")
    return DetectorConfig(
        resize=ResizeRule(800, 1333, "round", "pillow-bilinear", "whole"),
        pixels=PixelConfig(
            "bgr",
            1.0,
            (103.53, 116.28, 123.675),
            (57.375, 57.12, 58.395) if grouped else (1.0, 1.0, 1.0),
        ),
        backbone=BackboneConfig(
            network, weights="none", stride_in="3x3" if grouped else "1x1", norm_epsilon=1e-5
        ),
        rpn=RpnConfig(min_size=ABOVE_ZERO, box_loss_beta=0.0, post_nms_train=1000),
        roi=RoiConfig(sampling_ratio=0, aligned=True, min_size=ABOVE_ZERO, box_loss_beta=0.0),
    )


def single_map_config(network: BackboneName, kind: Literal["c4", "c5"]) -> DetectorConfig:
    """What is other than in FPN where both stages look at one map of stride 16: C4, or C5 dilated."""
    config = detectron2_config(network)
    channels = {"c4": 1024, "c5": 2048}[kind]
    roi = replace(config.roi, head="conv5", resolution=14) if kind == "c4" else config.roi
    return replace(
        config,
        backbone=replace(config.backbone, dilated=kind == "c5"),
        pyramid=PyramidConfig(kind=kind, channels=channels),
        rpn=replace(
            config.rpn,
            pre_nms_train=12000,
            pre_nms_test=6000,
            post_nms_train=2000,
            post_nms_test=1000,
        ),
        roi=roi,
    )


def _tensors(state: Mapping[str, object]) -> dict[str, object]:
    """`state` with arrays as tensors of this machine's byte order."""
    return {
        key: torch.from_numpy(value.astype(value.dtype.newbyteorder("=")))
        if isinstance(value, np.ndarray)
        else value
        for key, value in state.items()
    }
