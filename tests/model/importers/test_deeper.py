"""Deeper and wider networks than the recorded answers are of: rule-made weights, by each project's own names.

The names are written out here, not taken from the importers' tables. What the networks of those weights must give is
asked of torchvision's ResNet, whose names MMDetection shares and Detectron2's are spelled as; the pyramid and the
heads are those of ResNet-50, whose answers test_golden.py compares.
"""

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn
from torchvision.models.resnet import Bottleneck, ResNet

from model.importers.detectron2 import import_detectron2
from model.importers.mmdetection import import_mmdetection
from model.network.detector import Detector
from tests.golden import made
from tests.references import photograph

CLASSES = ("cat", "dog", "bird")
PARTS = ("weight", "bias", "running_mean", "running_var")
Names = Callable[[str], str]
Heads = dict[str, tuple[int | str, ...]]


def detectron2_name(key: str) -> str:
    """Detectron2's name of what torchvision's ResNet calls `key`."""
    key = key.replace("fc.", "linear.")
    for stage in range(4):
        key = key.replace(f"layer{stage + 1}.", f"res{stage + 2}.")
    key = key.replace("downsample.0.", "shortcut.").replace("downsample.1.", "shortcut.norm.")
    for number in (1, 2, 3):
        key = key.replace(f".bn{number}.", f".conv{number}.norm.")
    if key.startswith(("conv1.", "bn1.")):
        key = "stem." + key.replace("bn1.", "conv1.norm.")
    return "backbone.bottom_up." + key


def mmdetection_name(key: str) -> str:
    return "backbone." + key


DETECTRON2_HEADS: Heads = {
    "backbone.fpn_lateral{k}": (256, "C", 1, 1),
    "backbone.fpn_output{k}": (256, 256, 3, 3),
    "proposal_generator.rpn_head.conv": (256, 256, 3, 3),
    "proposal_generator.rpn_head.objectness_logits": (3, 256, 1, 1),
    "proposal_generator.rpn_head.anchor_deltas": (12, 256, 1, 1),
    "roi_heads.box_head.fc1": (1024, 12544),
    "roi_heads.box_head.fc2": (1024, 1024),
    "roi_heads.box_predictor.cls_score": (4, 1024),
    "roi_heads.box_predictor.bbox_pred": (12, 1024),
}
MMDETECTION_HEADS: Heads = {
    "neck.lateral_convs.{i}.conv": (256, "C", 1, 1),
    "neck.fpn_convs.{i}.conv": (256, 256, 3, 3),
    "rpn_head.rpn_conv": (256, 256, 3, 3),
    "rpn_head.rpn_cls": (3, 256, 1, 1),
    "rpn_head.rpn_reg": (12, 256, 1, 1),
    "roi_head.bbox_head.shared_fcs.0": (1024, 12544),
    "roi_head.bbox_head.shared_fcs.1": (1024, 1024),
    "roi_head.bbox_head.fc_cls": (4, 1024),
    "roi_head.bbox_head.fc_reg": (12, 1024),
}


def heads_of(heads: Heads) -> Iterator[tuple[str, Tensor]]:
    for pattern, shape in heads.items():
        places = range(4) if "{" in pattern else range(1)
        for i in places:
            layer = pattern.format(i=i, k=i + 2)
            sides = tuple(256 * 2**i if side == "C" else side for side in shape)
            # zeros are enough where only shapes and names count
            yield f"{layer}.weight", torch.zeros(tuple(map(int, sides)))
            yield f"{layer}.bias", torch.zeros(int(sides[0]))


def made_resnet(blocks: list[int], groups: int, width: int, stride_in: str) -> ResNet:
    """torchvision's network with the tensors that the rule makes of their names."""
    network = ResNet(Bottleneck, blocks, groups=groups, width_per_group=width)
    if stride_in == "1x1":
        for block in network.modules():
            if isinstance(block, Bottleneck):
                block.conv1.stride, block.conv2.stride = block.conv2.stride, (1, 1)
    state = {k: torch.from_numpy(made(k, tuple(v.shape))) for k, v in network.state_dict().items()}
    network.load_state_dict(state)
    return network.eval()


def maps(network: ResNet, pixels: Tensor) -> list[Tensor]:
    x = network.maxpool(network.relu(network.bn1(network.conv1(pixels))))
    found = []
    for stage in (network.layer1, network.layer2, network.layer3, network.layer4):
        x = stage(x)
        found.append(x)
    return found


def state_of(network: nn.Module, name: Names, heads: Heads) -> dict[str, Tensor]:
    state = {name(k): v for k, v in network.state_dict().items() if not k.startswith("fc.")}
    return state | dict(heads_of(heads))


def detectron2(state: dict[str, Tensor]) -> Detector:
    counters = ("num_batches_tracked",)  # its frozen norms have none
    return import_detectron2({k: v for k, v in state.items() if not k.endswith(counters)}, CLASSES)


def mmdetection(style: str) -> Callable[[dict[str, Tensor]], Detector]:
    return lambda state: import_mmdetection({"state_dict": state}, CLASSES, said=style)


R101, X101 = [3, 4, 23, 3], [3, 4, 23, 3]
CASES = {
    "Detectron2 R101": (R101, 1, 64, "1x1", detectron2_name, DETECTRON2_HEADS, detectron2),
    "MMDetection R101 caffe": (
        R101, 1, 64, "1x1", mmdetection_name, MMDETECTION_HEADS, mmdetection("caffe"),
    ),
    "MMDetection R101": (
        R101, 1, 64, "3x3", mmdetection_name, MMDETECTION_HEADS, mmdetection("pytorch"),
    ),
    "MMDetection X101-32x4d": (
        X101, 32, 4, "3x3", mmdetection_name, MMDETECTION_HEADS, mmdetection("pytorch"),
    ),
    "MMDetection X101-64x4d": (
        X101, 64, 4, "3x3", mmdetection_name, MMDETECTION_HEADS, mmdetection("pytorch"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_the_backbone_gives_the_maps_that_its_weights_mean(case: str) -> None:
    blocks, groups, width, stride_in, name, heads, import_ = CASES[case]
    network = made_resnet(blocks, groups, width, stride_in)
    detector = import_(state_of(network, name, heads))
    assert detector.config.backbone.stride_in == stride_in
    image = photograph("coffee", (96, 64))[None]
    pixels = detector.normalise(image, torch.tensor([[96, 64]]))
    with torch.inference_mode():
        ours, theirs = detector.backbone(pixels), maps(network, pixels)
    assert len(ours) == len(theirs) == 4
    for one, other in zip(ours, theirs, strict=True):
        scale = float(other.abs().max())
        assert scale > 0
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4 * scale)
