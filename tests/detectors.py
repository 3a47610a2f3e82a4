"""Small detectors with random weights that nevertheless find things, for tests of what comes after training."""

import torch
from torch import Tensor, nn

from model.config.detector import DetectorConfig
from model.config.files import from_mapping
from model.network.detector import Detector
from model.network.fpn import FeaturePyramid
from model.network.pooling import pool_regions

CLASS_NAMES = ("cat", "dog", "bird")
FRAMES = ((64, 64), (64, 96), (96, 64))


def small_detector(seed: int = 0) -> Detector:
    """A ResNet-18 detector with a pyramid of 8 channels, in evaluation mode.

    Fresh predictors score everything alike. Here each is scaled so that its outputs spread as trained ones do:
    dozens of proposals on several levels, and detections of every class.
    """
    values = {
        "resize": {"short_side": 64, "max_side": 96, "buckets": FRAMES},
        "backbone": {"name": "resnet18", "weights": "none"},
        "pyramid": {"channels": 8},
        "anchors": {"sizes": (8, 16, 32, 64, 128)},
        "rpn": {"pre_nms_test": 40, "post_nms_test": 60},
        "roi": {"fc_channels": 16, "max_candidates": 100, "max_detections": 30},
    }
    torch.manual_seed(seed)
    detector = Detector(from_mapping(DetectorConfig, values, "small_detector"), CLASS_NAMES).eval()
    with torch.no_grad():
        spread(detector)
    return detector


def with_config(detector: Detector, config: DetectorConfig) -> Detector:
    """The detector of the same weights with another configuration, in evaluation mode."""
    other = Detector(config, detector.class_names)
    other.load_state_dict(detector.state_dict())
    return other.eval()


def noise(count: int, frame: tuple[int, int], seed: int = 0) -> Tensor:
    """Smooth random pictures, uint8 [count, 3, H, W]."""
    generator = torch.Generator().manual_seed(seed)
    height, width = frame
    coarse = torch.rand((count, 3, height // 8, width // 8), generator=generator)
    fine = nn.functional.interpolate(coarse, size=frame, mode="bilinear")
    return (fine * 255).to(torch.uint8)


def spread(detector: Detector) -> None:
    """Scale every predictor so that its outputs spread as trained ones do."""
    images, sizes = noise(2, (64, 96)), torch.tensor([[64, 96], [64, 96]])
    pyramid = detector.features(detector.normalise(images, sizes))
    if isinstance(detector.fpn, FeaturePyramid):
        every = torch.cat([level.flatten() for level in pyramid])
        for convolution in detector.fpn.outputs:
            _rescale(convolution, every, 1.0)
    pyramid, predictions = detector(detector.normalise(images, sizes))
    _rescale(detector.rpn.logits, torch.cat([level.logits.flatten() for level in predictions]), 2.0)
    _rescale(detector.rpn.deltas, torch.cat([level.deltas.flatten() for level in predictions]), 0.3)
    boxes = torch.tensor([[0.0, 0, 30, 20], [10, 10, 60, 50], [40, 5, 90, 60], [0, 0, 96, 64]])
    owners = torch.tensor([0, 0, 1, 1])
    pooled = pool_regions(pyramid, boxes, owners, detector.config.roi, detector.pooled_levels)
    logits, deltas = detector.roi(pooled)
    _rescale(detector.roi.logits, logits.flatten(), 2.0)
    _rescale(detector.roi.deltas, deltas.flatten(), 0.5)


def _rescale(layer: nn.Module, outputs: Tensor, deviation: float) -> None:
    """Make a layer whose bias is zero give outputs of standard deviation `deviation`."""
    assert isinstance(layer.weight, Tensor)
    layer.weight.mul_(deviation / outputs.std())
