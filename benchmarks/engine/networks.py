"""The detectors that are measured: the one that ships, a ResNet-50 of seeded weights, torchvision's MobileNetV3.

Seeded weights answer like trained ones in what costs time: every norm is calibrated on images, and the predictors are
spread so that proposals and detections are as many as their limits.
"""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN

from benchmarks.spread import spread_detector
from export.made_pictures import made_batch
from model.config.detector import DetectorConfig
from model.config.files import from_mapping
from model.importers.torchvision import import_torchvision
from model.network.checkpoint import load_detector
from model.network.detector import Detector
from model.network.fpn import FeaturePyramid
from model.network.frozen_norm import FrozenNormConv2d
from model.network.pooling import Regions
from model.network.roi import RoiHead

# torchvision's fasterrcnn_resnet50_fpn: 90 foreground classes, at the frame that the published figures use.
RESNET50_FRAME = (800, 1088)
RESNET50_CLASSES = 90
DEFAULT_FRAME = (320, 448)  # of a 4:3 photograph; of MOBILENET, too
MOBILENET = "fasterrcnn_mobilenet_v3_large_320_fpn"
DEFAULT_CHECKPOINT = Path(__file__).parents[2] / "deploy/models/default/checkpoint.pt"

# Of the predictors' outputs over the images: proposals and classes spread as trained ones do.
LOGIT_DEVIATION, PROPOSAL_DEVIATION, BOX_DEVIATION = 2.0, 0.3, 0.5
# What varies less than this over the images, as a share of what varies most, counts for nothing: blown up, it would
# show float32's rounding there, and answer any other image with nothing but extremes.
LEAST_VARIANCE = 1e-2


def default_detector() -> Detector:
    """The served default model."""
    return load_detector(DEFAULT_CHECKPOINT)


def torchvision_mobilenet(photographs: NDArray[np.uint8]) -> tuple[Detector, FasterRCNN]:
    """Torchvision's smallest detector with weights fitted on `photographs` [n, 3, H, W], and ours of these weights."""
    theirs = spread_detector(MOBILENET, [torch.from_numpy(each) for each in photographs])
    return import_torchvision(theirs.state_dict(), model=MOBILENET), theirs


def seeded_resnet50(photograph: NDArray[np.uint8]) -> Detector:
    """A ResNet-50 detector of seeded weights, calibrated on `photograph` [3, H, W] and two made images.

    RoIAlign without half-pixel alignment, as torchvision's detectors have it.
    """
    height, width = RESNET50_FRAME
    values = {
        "resize": {
            "short_side": height,
            "max_side": width,
            "buckets": [[height, width], [width, height]],
        },
        "backbone": {"name": "resnet50", "weights": "none", "frozen_stages": 0},
        "roi": {"aligned": False},
    }
    torch.manual_seed(0)
    names = tuple(f"class {label}" for label in range(RESNET50_CLASSES))
    detector = Detector(from_mapping(DetectorConfig, values, "benchmarks"), names).eval()
    with torch.no_grad():
        made, made_sizes = made_batch(2, RESNET50_FRAME, np.random.default_rng(0))
        images = torch.cat([torch.from_numpy(photograph)[None], made])
        _spread(detector, images, torch.cat([torch.tensor([RESNET50_FRAME]), made_sizes]))
    return detector


def _spread(detector: Detector, images: Tensor, sizes: Tensor) -> None:
    _calibrate_norms(detector, detector.normalise(images, sizes))
    pyramid, _ = detector(detector.normalise(images, sizes))
    deviation = torch.cat([level.flatten() for level in pyramid]).std()
    assert isinstance(detector.fpn, FeaturePyramid)
    for convolution in detector.fpn.outputs:
        assert isinstance(convolution, nn.Conv2d)
        convolution.weight.div_(deviation)
    pyramid = detector.features(detector.normalise(images, sizes))
    hidden = torch.cat(
        [detector.rpn.conv(level).relu().permute(1, 0, 2, 3).flatten(1).T for level in pyramid]
    )  # [cells of all images, d]
    _whitened(detector.rpn.logits, hidden, LOGIT_DEVIATION)
    _whitened(detector.rpn.deltas, hidden, PROPOSAL_DEVIATION)
    boxes = detector.propose(images, sizes).boxes.flatten(1, 2)  # [N, L * K, 4]
    owners = torch.arange(len(boxes))[:, None].expand(boxes.shape[:2])
    boxes = boxes.flatten(0, 1)
    regions = Regions(boxes, owners.flatten(), detector.levels_of(boxes))
    pooled: list[Tensor] = []
    roi = detector.roi
    assert isinstance(roi, RoiHead)
    handle = roi.fc2.register_forward_hook(lambda _module, _input, output: pooled.append(output))
    detector.classify(pyramid, regions)
    handle.remove()
    _whitened(roi.logits, pooled[0].relu(), LOGIT_DEVIATION)
    _whitened(roi.deltas, pooled[0].relu(), BOX_DEVIATION)


def _calibrate_norms(detector: Detector, pixels: Tensor) -> None:
    """Give every folded norm, in the order of the forward pass, outputs of mean 0 and deviation 1 on `pixels`."""

    def calibrate(layer: FrozenNormConv2d, inputs: tuple[Tensor, ...]) -> None:
        layer.scale.fill_(1.0)
        layer.shift.zero_()
        outputs = layer.forward(*inputs)
        layer.scale.copy_(1.0 / outputs.std(dim=(0, 2, 3)).clamp(min=1e-3))
        layer.shift.copy_(-outputs.mean(dim=(0, 2, 3)) * layer.scale)

    layers = [m for m in detector.backbone.modules() if isinstance(m, FrozenNormConv2d)]
    handles = [layer.register_forward_pre_hook(calibrate) for layer in layers]
    detector.backbone(pixels)
    for handle in handles:
        handle.remove()


def _whitened(layer: nn.Conv2d | nn.Linear, inputs: Tensor, deviation: float) -> None:
    """Random weights whose outputs over `inputs` [n, channels] are uncorrelated, of mean 0 and this deviation."""
    mean = inputs.mean(dim=0)
    covariance = torch.cov((inputs - mean).T)
    values, vectors = torch.linalg.eigh(covariance)
    kept = values > LEAST_VARIANCE * values.max()
    whitening = vectors[:, kept] / values[kept].sqrt()  # [channels, directions]
    directions = torch.randn(whitening.shape[1], len(layer.weight)) / whitening.shape[1] ** 0.5
    weight = deviation * (whitening @ directions).T  # [rows, channels]
    layer.weight.copy_(weight.reshape(layer.weight.shape))
    assert layer.bias is not None
    layer.bias.copy_(-weight @ mean)
