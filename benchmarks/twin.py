"""The same network as torchvision builds it: its pyramid, its proposals, its heads, and our weights in them.

Frozen norms stay apart from their convolutions there, as torchvision's users have them. What torchvision cannot be told
is the half-pixel alignment of RoIAlign, which costs nothing.
"""

from typing import Any

import torch
from torch import nn
from torchvision.models import mobilenet_v2
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN, resnet_fpn_backbone
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.ops import FrozenBatchNorm2d, MultiScaleRoIAlign

from model.config.detector import DetectorConfig
from model.network.backbone import CHANNELS
from model.network.detector import Detector
from model.network.fpn import FeaturePyramid
from model.network.frozen_norm import FrozenNormConv2d
from model.network.roi import RoiHead

# The blocks of torchvision's MobileNetV2 that end in C2..C5.
TAPS = {"3": "0", "6": "1", "13": "2", "17": "3"}


def torchvision_twin(detector: Detector, **settings: Any) -> FasterRCNN:
    """Torchvision's detector with the weights and settings of `detector`, in evaluation mode.

    Args:
        detector: of a ResNet-50 or MobileNetV2, with a pyramid and two fully connected layers.
        settings: more of FasterRCNN's.
    """
    config, num_classes = detector.config, len(detector.class_names)
    rpn, roi = config.rpn, config.roi
    sizes = tuple((int(size),) for size in config.anchors.sizes)
    anchors = AnchorGenerator(sizes, (config.anchors.ratios,) * len(sizes))
    twin = FasterRCNN(
        _backbone(config),
        min_size=config.resize.short_side,
        max_size=config.resize.max_side,
        image_mean=config.pixels.mean,
        image_std=config.pixels.std,
        rpn_anchor_generator=anchors,
        rpn_pre_nms_top_n_train=rpn.pre_nms_train,
        rpn_pre_nms_top_n_test=rpn.pre_nms_test,
        rpn_post_nms_top_n_train=rpn.post_nms_train,
        rpn_post_nms_top_n_test=rpn.post_nms_test,
        rpn_nms_thresh=rpn.nms_iou,
        rpn_batch_size_per_image=rpn.batch_per_image,
        box_roi_pool=MultiScaleRoIAlign(["0", "1", "2", "3"], roi.resolution, roi.sampling_ratio),
        box_head=TwoMLPHead(config.pyramid.channels * roi.resolution**2, roi.fc_channels),
        box_predictor=FastRCNNPredictor(roi.fc_channels, num_classes + 1),
        box_score_thresh=roi.score_threshold,
        box_nms_thresh=roi.nms_iou,
        box_detections_per_img=roi.max_detections,
        box_batch_size_per_image=roi.batch_per_image,
        box_positive_fraction=roi.positive_fraction,
        **settings,
    )
    # torchvision rounds the corners of its anchors
    anchors.cell_anchors = [detector.get_buffer(f"cell_anchors_{i}") for i in range(len(sizes))]
    with torch.no_grad():
        _carry_backbone(detector, twin)
        _carry_heads(detector, twin)
    return twin.eval()


def _backbone(config: DetectorConfig) -> BackboneWithFPN:
    if config.backbone.name == "resnet50":
        return resnet_fpn_backbone(
            backbone_name="resnet50", weights=None, norm_layer=FrozenBatchNorm2d, trainable_layers=5
        )
    features = mobilenet_v2(weights=None, norm_layer=FrozenBatchNorm2d).features
    return BackboneWithFPN(features, TAPS, list(CHANNELS["mobilenet_v2"]), config.pyramid.channels)


def _carry_backbone(detector: Detector, twin: Any) -> None:
    """Both are made of torchvision's networks, so their layers come in the same order."""
    modules = list(twin.backbone.body.modules())
    ours = [m for m in detector.backbone.modules() if isinstance(m, FrozenNormConv2d)]
    convolutions = [m for m in modules if isinstance(m, nn.Conv2d)]
    norms = [m for m in modules if isinstance(m, FrozenBatchNorm2d)]
    for source, convolution, norm in zip(ours, convolutions, norms, strict=True):
        convolution.weight.copy_(source.weight)
        convolution.weight.requires_grad_(source.weight.requires_grad)
        norm.eps = 0.0
        norm.weight.copy_(source.scale)
        norm.bias.copy_(source.shift)
        norm.running_mean.zero_()
        norm.running_var.fill_(1.0)


def _carry_heads(detector: Detector, twin: Any) -> None:
    """The background is torchvision's first class and our last; its boxes, which we lack, are not read."""
    fpn, roi = detector.fpn, detector.roi
    assert isinstance(fpn, FeaturePyramid)
    assert isinstance(roi, RoiHead)
    pairs = [
        *zip(fpn.laterals, (block[0] for block in twin.backbone.fpn.inner_blocks), strict=True),
        *zip(fpn.outputs, (block[0] for block in twin.backbone.fpn.layer_blocks), strict=True),
        (detector.rpn.conv, twin.rpn.head.conv[0][0]),
        (detector.rpn.logits, twin.rpn.head.cls_logits),
        (detector.rpn.deltas, twin.rpn.head.bbox_pred),
        (roi.fc1, twin.roi_heads.box_head.fc6),
        (roi.fc2, twin.roi_heads.box_head.fc7),
    ]
    for source, target in pairs:
        target.load_state_dict(source.state_dict())
    scores, boxes = twin.roi_heads.box_predictor.cls_score, twin.roi_heads.box_predictor.bbox_pred
    for part in ("weight", "bias"):
        getattr(scores, part).copy_(getattr(roi.logits, part).roll(1, dims=0))
        getattr(boxes, part).zero_()
        getattr(boxes, part)[4:] = getattr(roi.deltas, part)
