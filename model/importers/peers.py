"""The other projects' own models with the weights that were imported, for `fpn-import --compare`.

torchvision is installed wherever training is. Detectron2 and MMDetection are imported only here, and only where they
are asked for. What the command was told of the model (`--anchors`, `--set`), they are told, too; all else is as they
have it themselves, so that a wrong belief of ours about it shows.

Legend
    told    whether settings were given, so that theirs follow the detector's
"""

from collections.abc import Iterable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models import get_model
from torchvision.models.detection.anchor_utils import AnchorGenerator

from model.config.detector import DetectorConfig
from model.importers.comparison import Found, Peer
from model.importers.layout import ImportRefused
from model.network.detector import Detector

# Of the backbones that Detectron2's and MMDetection's own configurations are of: how those files spell them.
_DETECTRON2 = {"resnet50": "R_50", "resnet101": "R_101", "resnext101_32x8d": "X_101_32x8d"}
_KINDS = {"fpn": "FPN", "c4": "C4", "c5": "DC5"}
_MMDETECTION = {
    "resnet50": "r50",
    "resnet101": "r101",
    "resnext101_32x4d": "x101-32x4d",
    "resnext101_64x4d": "x101-64x4d",
}
# What a state dict may hold or lack: counters, and constants of the configuration.
_NO_WEIGHTS = (
    "num_batches_tracked", "pixel_mean", "pixel_std", "data_preprocessor.mean", "data_preprocessor.std",
)  # fmt: skip


def torchvision_peer(
    detector: Detector, state: Mapping[str, object], model: str, told: bool = False
) -> Peer:
    """Torchvision's `model` with the weights `state`.

    Raises:
        ImportRefused: it does not take them.
    """
    classes = len(detector.class_names) + 1
    theirs: Any = get_model(model, weights=None, weights_backbone=None, num_classes=classes)
    config = detector.config
    for module in theirs.modules():
        if isinstance(module, nn.BatchNorm2d) and config.backbone.norm_epsilon is not None:
            module.eps = config.backbone.norm_epsilon
    _load(theirs, state, f"torchvision's {model}", "name their model with --model")
    if told:
        _tell_torchvision(theirs, config)
    theirs.roi_heads.mask_roi_pool = None  # without which it makes no masks
    theirs.eval()

    def found(content: Tensor) -> Found:
        height, width = content.shape[1:]
        # two settings of torchvision's own, with which its scale is 1
        theirs.transform.min_size = (min(height, width),)
        theirs.transform.max_size = max(height, width)
        [answer] = theirs([content / 255])
        # the background is torchvision's label 0 and never found
        return Found(answer["boxes"], answer["scores"], answer["labels"] - 1)

    return found


def _tell_torchvision(theirs: Any, config: DetectorConfig) -> None:
    rpn, roi, levels = config.rpn, config.roi, len(config.pyramid.levels)
    sizes = _sizes(config)
    theirs.rpn.anchor_generator = AnchorGenerator(sizes, (config.anchors.ratios,) * levels)
    theirs.rpn._pre_nms_top_n = dict.fromkeys(("training", "testing"), rpn.pre_nms_test)
    theirs.rpn._post_nms_top_n = dict.fromkeys(("training", "testing"), rpn.post_nms_test)
    theirs.rpn.nms_thresh, theirs.rpn.score_thresh = rpn.nms_iou, rpn.score_threshold
    heads = theirs.roi_heads
    heads.score_thresh, heads.nms_thresh = roi.score_threshold, roi.nms_iou
    heads.detections_per_img = roi.max_detections
    pixels = config.pixels
    theirs.transform.image_mean, theirs.transform.image_std = pixels.mean, pixels.std


def detectron2_peer(detector: Detector, state: Mapping[str, object], told: bool = False) -> Peer:
    """Detectron2's own model with the weights `state`.

    Raises:
        ImportRefused: it is not installed, has no such model, or the model does not take them.
    """
    config = detector.config
    name = _spelled(_DETECTRON2, config.backbone.name, "Detectron2")
    zoo = _module("detectron2.model_zoo", "Detectron2")
    settings = zoo.get_config(
        f"COCO-Detection/faster_rcnn_{name}_{_KINDS[config.pyramid.kind]}_3x.yaml"
    )
    settings.MODEL.DEVICE, settings.MODEL.WEIGHTS = "cpu", ""
    settings.MODEL.ROI_HEADS.NUM_CLASSES = len(detector.class_names)
    if told:
        _tell_detectron2(settings, config)
    theirs = _module("detectron2.modeling", "Detectron2").build_model(settings).eval()
    _load(theirs, state, f"Detectron2's {name}", "say what it was built with")

    def found(content: Tensor) -> Found:
        height, width = content.shape[1:]
        asked = {"image": content.flip(0), "height": height, "width": width}  # blue first
        answer = theirs([asked])[0]["instances"]
        return Found(answer.pred_boxes.tensor, answer.scores, answer.pred_classes)

    return found


def _tell_detectron2(settings: Any, config: DetectorConfig) -> None:
    model, rpn, roi = settings.MODEL, config.rpn, config.roi
    model.ANCHOR_GENERATOR.SIZES = [list(sizes) for sizes in _sizes(config)]
    model.ANCHOR_GENERATOR.ASPECT_RATIOS = [list(config.anchors.ratios)]
    model.PIXEL_MEAN, model.PIXEL_STD = (
        list(config.pixels.mean or ()),
        list(config.pixels.std or ()),
    )
    model.RPN.PRE_NMS_TOPK_TEST, model.RPN.POST_NMS_TOPK_TEST = rpn.pre_nms_test, rpn.post_nms_test
    model.RPN.NMS_THRESH, model.ROI_HEADS.NMS_THRESH_TEST = rpn.nms_iou, roi.nms_iou
    model.ROI_HEADS.SCORE_THRESH_TEST = roi.score_threshold
    settings.TEST.DETECTIONS_PER_IMAGE = roi.max_detections


def mmdetection_peer(
    detector: Detector, state: Mapping[str, object], file: Path | None, told: bool = False
) -> Peer:
    """MMDetection's own model with the weights `state`.

    Args:
        detector: what was made of them.
        state: the weights.
        file: its configuration, which MMDetection's own reader runs; the package's own of that backbone without one.
        told: whether settings were given.

    Raises:
        ImportRefused: it is not installed, has no such model, or the model does not take them.
    """
    config = detector.config
    name = _spelled(_MMDETECTION, config.backbone.name, "MMDetection")
    package = _module("mmdet", "MMDetection")
    _module("mmdet.models", "MMDetection")  # which registers them
    _module("mmengine.registry", "MMDetection").init_default_scope("mmdet")
    caffe = "-caffe" if config.backbone.stride_in == "1x1" else ""
    own = Path(package.__file__).parent / ".mim" / "configs" / "faster_rcnn"
    file = file or own / f"faster-rcnn_{name}{caffe}_fpn_1x_coco.py"
    if not file.exists():
        raise ImportRefused(f"--compare: MMDetection has no {file.name}; give the model's --config")
    settings = _module("mmengine.config", "MMDetection").Config.fromfile(file).model
    settings.backbone.init_cfg = None  # which would download
    settings.roi_head.bbox_head.num_classes = len(detector.class_names)
    if told:
        _tell_mmdetection(settings, config)
    theirs = _module("mmdet.registry", "MMDetection").MODELS.build(settings).eval()
    _load(
        theirs, state, f"MMDetection's {file.stem}", "give the configuration that it was built with"
    )
    sample = _module("mmdet.structures", "MMDetection").DetDataSample

    def found(content: Tensor) -> Found:
        size = tuple(content.shape[1:])
        about = {"img_shape": size, "ori_shape": size, "scale_factor": (1.0, 1.0)}
        asked = {"inputs": [content.flip(0)], "data_samples": [sample(metainfo=about)]}
        ready = theirs.data_preprocessor(asked, False)
        [answer] = theirs.predict(ready["inputs"], ready["data_samples"], rescale=False)
        boxes = answer.pred_instances
        return Found(boxes.bboxes, boxes.scores, boxes.labels)

    return found


def _tell_mmdetection(settings: Any, config: DetectorConfig) -> None:
    anchors, test = settings.rpn_head.anchor_generator, settings.test_cfg
    anchors.base_sizes, anchors.scales = list(config.anchors.sizes), [1.0]
    anchors.ratios = list(config.anchors.ratios)
    test.rpn.nms_pre, test.rpn.max_per_img = config.rpn.pre_nms_test, config.rpn.post_nms_test
    test.rpn.nms.iou_threshold, test.rcnn.nms.iou_threshold = config.rpn.nms_iou, config.roi.nms_iou
    test.rcnn.score_thr = config.roi.score_threshold
    test.rcnn.max_per_img = config.roi.max_detections


def _sizes(config: DetectorConfig) -> tuple[tuple[float, ...], ...]:
    """The anchors' sizes, level by level."""
    sizes = config.anchors.sizes
    if config.pyramid.kind != "fpn":
        return (sizes,)
    if config.anchors.shared:
        return (sizes,) * len(config.pyramid.levels)
    return tuple((size,) for size in sizes)


def _module(name: str, project: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        raise ImportRefused(
            f"--compare asks {project} itself, which is not installed here or does not load ({error}); import without"
            " --compare, or run this where it is installed"
        ) from None


def _spelled(names: Mapping[str, str], backbone: str, project: str) -> str:
    if backbone not in names:
        raise ImportRefused(
            f"--compare: expected a backbone that {project} has a configuration of"
            f" ({', '.join(names)}), got {backbone}"
        )
    return names[backbone]


def _load(theirs: nn.Module, state: Mapping[str, object], what: str, remedy: str) -> None:
    """Gives `state` to their model, which may lack what is no part of it (masks), and needs all else."""
    tensors = {key: torch.as_tensor(value) for key, value in state.items()}
    try:
        missing: Iterable[str] = theirs.load_state_dict(tensors, strict=False).missing_keys
    except RuntimeError:  # of other shapes
        missing = ["all"]
    buffers = ("cell_anchors", "base_anchors")
    if [k for k in missing if not k.endswith(_NO_WEIGHTS) and not any(b in k for b in buffers)]:
        raise ImportRefused(f"--compare: {what} does not take these weights; {remedy}")
