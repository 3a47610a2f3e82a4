"""torchvision's detectors with weights that are random and yet find things: for comparisons, and for times.

Fresh weights score everything alike, and then any two detectors agree. Here the norms hold the statistics of several
photographs, and each predictor sees whitened features of them: in that space random directions are independent, so
anchors and classes score and move apart, hundreds of proposals are distinct, and dozens of detections are of many
classes. Fitted on one photograph alone, the scores of others saturate at 1.0, and ties decide. The epsilon of the norms
is 0 where it is so in torchvision's published file.

Legend
    P   samples: positions of the pyramid, or regions       d   features of a sample
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torchvision.models import get_model
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import FrozenBatchNorm2d

# Every so many of the regions: a head with convolutions takes long for one.
REGIONS = 4
# Directions in which the photographs' features hardly vary are noise, and whitening would blow it up.
LEAST_VARIANCE = 3e-2
# Deviations of P2..P5. A coarse level has few cells: without more of it they would not rank among the best.
GAINS = (1.0, 1.2, 1.5, 2.2)
# Added to the background's logit, so that most regions show nothing, as in a trained detector.
BACKGROUND = 3.5
# Their published files were trained on from norms without it.
WITHOUT_EPSILON = ("fasterrcnn_resnet50_fpn", "maskrcnn_resnet50_fpn")


def spread_detector(name: str, photographs: Sequence[Tensor], seed: int = 0) -> FasterRCNN:
    """Torchvision's model of that name for 91 classes, in evaluation mode; the same weights for the same seed.

    Args:
        name: torchvision's.
        photographs: that its weights are fitted on, uint8 [3, height, width], of one size, in multiples of 32.
        seed: of what is random.
    """
    size = tuple(photographs[0].shape[1:])
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        model: FasterRCNN = get_model(name, weights=None, weights_backbone=None)
        pixels = torch.stack([model.transform.normalize(each / 255) for each in photographs])
        images = ImageList(pixels, [size] * len(photographs))
        _settle_norms(model.backbone, lambda: model.backbone(images.tensors))
        if name in WITHOUT_EPSILON:
            _freeze_norms(model.backbone.body)
        _spread(model, images)
    return model.eval()


def _settle_norms(part: nn.Module, run: Callable[[], object]) -> None:
    """Norms with random weights and the statistics of what `part` sees when it is `run`."""
    for norm in part.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.normal_(norm.bias, std=0.3)
            norm.momentum = 1.0
    part.train()
    run()
    part.eval()


def _freeze_norms(body: nn.Module) -> None:
    for parent in list(body.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.BatchNorm2d):
                frozen = FrozenBatchNorm2d(child.num_features, eps=0.0)
                frozen.load_state_dict(child.state_dict())
                setattr(parent, name, frozen)


def _spread(model: FasterRCNN, images: ImageList) -> None:
    """Predictors that tell the photographs' positions, and their regions, apart."""
    head, predictor = model.rpn.head, model.roi_heads.box_predictor
    pyramid = model.backbone.eval()(images.tensors)
    for block, level, gain in zip(
        model.backbone.fpn.layer_blocks, pyramid.values(), GAINS, strict=False
    ):
        deviation, mean = torch.std_mean(level, dim=(0, 2, 3))
        last = block[-1]  # the convolution, or its norm
        scale = (gain / deviation).reshape(-1, *[1] * (last.weight.dim() - 1))
        last.weight.mul_(scale)
        last.bias.copy_(
            (last.bias - mean) * gain / deviation if len(block) > 1 else -mean * gain / deviation
        )
    pyramid = model.backbone(images.tensors)
    hidden = [head.conv(level).permute(0, 2, 3, 1).flatten(0, 2) for level in pyramid.values()]
    samples = torch.cat(hidden)  # (N, d, H, W) of each level -> (P, d)
    _project(head.cls_logits, samples, 2.0)
    _project(head.bbox_pred, samples, 0.3)
    boxes, _ = model.rpn.eval()(images, pyramid)
    boxes = [each[::REGIONS] for each in boxes]
    pooled = model.roi_heads.box_roi_pool(pyramid, boxes, images.image_sizes)
    box_head = model.roi_heads.box_head
    _settle_norms(box_head, lambda: box_head(pooled))
    regions = box_head(pooled)
    _project(predictor.cls_score, regions, 1.5)
    _project(predictor.bbox_pred, regions, 1.0)
    predictor.cls_score.bias[0] += BACKGROUND


def _project(layer: nn.Module, samples: Tensor, deviation: float) -> None:
    """Make `layer` see `samples` [P, d] whitened, in random directions: each output has standard `deviation`."""
    assert isinstance(layer, nn.Conv2d | nn.Linear)
    mean = samples.mean(dim=0)
    variances, directions = torch.linalg.eigh(torch.cov(samples.T))
    kept = variances > LEAST_VARIANCE * variances[-1]
    whitening = directions[:, kept] / variances[kept].sqrt()  # (d, kept directions)
    mixture = nn.functional.normalize(torch.randn((layer.weight.shape[0], int(kept.sum()))), dim=1)
    weight = deviation * mixture @ whitening.T
    layer.weight.copy_(weight.view_as(layer.weight))
    assert layer.bias is not None
    layer.bias.copy_(-weight @ mean)
