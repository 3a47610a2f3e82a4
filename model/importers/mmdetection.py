"""MMDetection's Faster R-CNNs, of versions 2 and 3: their names, and all that goes with the weights and is not in them.

Source: MMDetection's configs _base_/models/faster-rcnn_r50_fpn and its caffe twin, anchor_generator,
single_level_roi_extractor, delta_xywh_bbox_coder and data_preprocessor; MMCV's imrescale.

No tensor tells the two styles apart: "pytorch" strides in a bottleneck's 3x3 convolution and takes RGB less a mean
over a deviation, "caffe" strides in its 1x1 and takes BGR less a mean. The program's configuration does. Training
writes its text into the checkpoint; otherwise it is given as a file, which is read and not run, or the style is named.
"""

import ast
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from model.config.detector import (
    BackboneConfig,
    BackboneName,
    DetectorConfig,
    PixelConfig,
    RoiConfig,
    RpnConfig,
)
from model.config.files import changed, from_mapping
from model.config.resize import ResizeRule
from model.importers.coco import imported_of_coco
from model.importers.detectron2 import ABOVE_ZERO
from model.importers.families import require_family
from model.importers.layout import UNNAMED, ImportRefused, Layout, weights_of
from model.importers.resnets import NETWORKS
from model.network.detector import Detector

MMDETECTION = Layout(
    model="the weights of MMDetection's faster_rcnn_{r50,r101,x101}_fpn",
    layers={
        "backbone.stem.0": ("backbone.conv1", "backbone.bn1"),
        "backbone.stages.{i}.{b}.conv{j}": (
            "backbone.layer{n}.{b}.conv{j}",
            "backbone.layer{n}.{b}.bn{j}",
        ),
        "backbone.stages.{i}.{b}.downsample.0": (
            "backbone.layer{n}.{b}.downsample.0",
            "backbone.layer{n}.{b}.downsample.1",
        ),
        "fpn.laterals.{i}": ("neck.lateral_convs.{i}.conv", "neck.lateral_convs.{i}.bn"),
        "fpn.outputs.{i}": ("neck.fpn_convs.{i}.conv", "neck.fpn_convs.{i}.bn"),
        "rpn.conv": ("rpn_head.rpn_conv", ""),
        "rpn.logits": ("rpn_head.rpn_cls", ""),
        "rpn.deltas": ("rpn_head.rpn_reg", ""),
        "roi.fc1": ("roi_head.bbox_head.shared_fcs.0", ""),
        "roi.fc2": ("roi_head.bbox_head.shared_fcs.1", ""),
        "roi.logits": ("roi_head.bbox_head.fc_cls", ""),
        "roi.deltas": ("roi_head.bbox_head.fc_reg", ""),
    },
    background="last",
    ignored=("num_batches_tracked", "data_preprocessor.mean", "data_preprocessor.std"),
    left={"roi_head.mask_head.": "masks' head"},
)

Style = Literal["pytorch", "caffe"]


class _Said(NamedTuple):
    """What a configuration says: the pixels, and where bottlenecks stride."""

    pixels: PixelConfig
    style: Style


STYLES: dict[Style, _Said] = {
    "pytorch": _Said(
        PixelConfig("rgb", 1.0, (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)), "pytorch"
    ),
    "caffe": _Said(PixelConfig("bgr", 1.0, (103.53, 116.28, 123.675), (1.0, 1.0, 1.0)), "caffe"),
}


def import_mmdetection(
    content: object,
    class_names: tuple[str, ...] = (),
    settings: Sequence[str] = (),
    said: str = "",
) -> Detector:
    """The detector of a file's `content`.

    Args:
        content: a checkpoint of MMEngine or MMCV, or a state dict.
        class_names: in label order; none are needed for COCO's 80, or where the checkpoint names them.
        settings: other than the base configuration's, as "resize.short_side=400".
        said: a style, or the text of a configuration; without one, what the checkpoint holds of its own.

    Raises:
        Refused: it is the state dict of something else, or nothing says of which style it is.
    """
    require_family(content, "mmdetection")
    state = weights_of(content, MMDETECTION)
    network = MMDETECTION.network(state)
    _require_agreement(_configuration(content, said), network, MMDETECTION.num_classes(state))
    config = mmdetection_config(network, _said(content, said))
    config = changed(config, settings, "mmdetection")
    return imported_of_coco(MMDETECTION, state, config, _named(class_names, content))


def mmdetection_config(network: BackboneName, said: _Said) -> DetectorConfig:
    """What MMDetection's model is beside its weights."""
    return DetectorConfig(
        resize=ResizeRule(
            800, 1333, "round", "bilinear", "whole"
        ),  # OpenCV's, which has no antialiasing
        pixels=said.pixels,
        backbone=BackboneConfig(
            network,
            weights="none",
            stride_in="1x1" if said.style == "caffe" else "3x3",
            norm_epsilon=1e-5,
        ),
        rpn=RpnConfig(min_size=ABOVE_ZERO, box_loss_beta=0.0, post_nms_train=1000),
        roi=RoiConfig(sampling_ratio=0, aligned=True, min_size=ABOVE_ZERO, box_loss_beta=0.0),
    )


def _said(content: object, given: str) -> _Said:
    """What is `given`, or what the checkpoint holds, says of style and pixels.

    Raises:
        ImportRefused: neither does.
    """
    if given in STYLES:
        return STYLES[given]
    text = _configuration(content, given)
    found = list(_tables(text)) if text else []
    mean, std, turned = (_first(found, key) for key in ("mean", "std", ("bgr_to_rgb", "to_rgb")))
    if mean is None or std is None:
        where = (
            "it says no mean and std of pixels" if text else "the checkpoint holds no configuration"
        )
        raise ImportRefused(
            f"expected the mean and the style of the weights, but {where}: give --config FILE.py, the program's own, or"
            " --style pytorch or --style caffe"
        )
    style: Style = "caffe" if _first(found, "style") == "caffe" else "pytorch"
    pixels = {"order": "rgb" if turned else "bgr", "scale": 1.0, "mean": mean, "std": std}
    return _Said(from_mapping(PixelConfig, pixels, "the configuration's pixels"), style)


def _configuration(content: object, given: str) -> str:
    """The text of the configuration that is `given`, or that the checkpoint holds; empty where a style is given."""
    if given in STYLES:
        return ""
    return given or str(_meta(content).get("cfg") or _meta(content).get("config") or "")


def _require_agreement(text: str, network: BackboneName, classes: int) -> None:
    """Refuses a configuration `text` of another backbone than the weights' `network`, or of other `classes`.

    Raises:
        ImportRefused: it says which.
    """
    tables = list(_tables(text)) if text else []
    shape, depth = NETWORKS[network], int("".join(filter(str.isdigit, network.partition("_")[0])))
    for key, ours in (
        ("depth", depth),
        ("groups", shape.groups),
        ("base_width", shape.width),
        ("num_classes", classes),
    ):
        # of the backbone alone: other parts have groups, too
        said = [t[key] for t in tables if key == "num_classes" or "depth" in t if key in t]
        if said and isinstance(said[0], int) and ours not in said:
            raise ImportRefused(
                f"the configuration says {key} {said[0]}, the weights are of {ours} ({network}, {classes} classes):"
                " give the configuration that they were trained with"
            )


def _classes(content: object) -> tuple[str, ...]:
    """The class names that training wrote into a checkpoint, if it did."""
    meta = _meta(content)
    dataset = meta.get("dataset_meta")
    named: Any = meta.get("CLASSES")
    if isinstance(dataset, Mapping):
        named = dataset.get("classes") or dataset.get("CLASSES") or named
    return tuple(map(str, named)) if isinstance(named, list | tuple) else ()


def _named(given: tuple[str, ...], content: object) -> tuple[str, ...]:
    """What is `given`, unless a checkpoint must say it, and does."""
    own = _classes(content)
    return own if own and given in ((), UNNAMED) else given


def _meta(content: object) -> Mapping[str, Any]:
    meta = content.get("meta") if isinstance(content, Mapping) else None
    return meta if isinstance(meta, Mapping) else {}


def _tables(text: str) -> Iterator[dict[str, Any]]:
    """The plain values of every table in a configuration, `dict(a=1)` or `{"a": 1}`, outermost first; nothing runs.

    Raises:
        ImportRefused: it is no Python.
    """
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        raise ImportRefused(
            f"expected a configuration of MMDetection, got no Python ({error})"
        ) from None
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id == "dict"
        ):
            yield {each.arg: _value(each.value) for each in node.keywords if each.arg}
        if isinstance(node, ast.Dict):
            keys = [_value(key) if key else None for key in node.keys]
            values = [_value(value) for value in node.values]
            yield {
                key: value for key, value in zip(keys, values, strict=True) if isinstance(key, str)
            }


def _value(node: ast.AST) -> Any:
    try:
        return ast.literal_eval(node)
    except ValueError:
        return None


def _first(tables: list[dict[str, Any]], keys: str | tuple[str, ...]) -> Any:
    names = (keys,) if isinstance(keys, str) else keys
    return next((t[name] for t in tables for name in names if t.get(name) is not None), None)
