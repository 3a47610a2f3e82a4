"""Bottom-up networks behind one interface: an image goes in, (C2, C3, C4, C5) come out.

Source: section 3 of the FPN paper ("bottom-up pathway"): the output of the last block of each stage, at strides
4, 8, 16 and 32. The networks are torchvision's; for MobileNetV2 the last block of each stride plays that part.

Legend
    N   images              H W  of the input, multiples of 32
    stem    what comes before the first stage
    C2..C5  a stage's output, [N, channels, H / stride, W / stride]
"""

from itertools import takewhile

import torch
from torch import Tensor, nn
from torchvision.models.resnet import Bottleneck

from model.config.detector import BackboneConfig
from model.network.frozen_norm import fold_frozen_norms
from model.network.pretrained import torchvision_network

# Which of torchvision's modules end in C2..C5, and how many channels those have. MobileNetV2's features[0] is its
# stem, as conv1 is a ResNet's, and its last 1x1 convolution (features[18]) belongs to the classifier.
RESNET_STAGES = ("layer1", "layer2", "layer3", "layer4")
MOBILENET_V2_STAGES = (slice(1, 4), slice(4, 7), slice(7, 14), slice(14, 18))

CHANNELS = {
    "resnet18": (64, 128, 256, 512),
    "resnet34": (64, 128, 256, 512),
    "resnet50": (256, 512, 1024, 2048),
    "resnet101": (256, 512, 1024, 2048),
    "mobilenet_v2": (24, 32, 96, 320),
}


class Backbone(nn.Module):
    """A stem and four stages run in order; a stage's output is its C_k.

    Attributes:
        channels: of C2..C5.
    """

    def __init__(self, stem: nn.Module, stages: list[nn.Module], channels: tuple[int, ...]) -> None:
        super().__init__()
        self.channels = channels
        self.stem = stem
        self.stages = nn.ModuleList(stages)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """(C2, C3, C4, C5) of normalised `images` [N, 3, H, W], at strides 4, 8, 16 and 32."""
        outputs = self._fixed_outputs(images) if self.training else []
        rest = [self.stem, *self.stages][len(outputs) :]
        outputs += _run(rest, outputs[-1] if outputs else images)
        return tuple(outputs[1:])

    def _fixed_outputs(self, images: Tensor) -> list[Tensor]:
        """What the parts that do not learn put out, up to the first that does: no gradient is kept for them.

        A CPU takes them image by image. The same maps of a whole batch come on fresh pages of memory, whose first
        touch costs more than the arithmetic: 105 ms instead of 42 for MobileNetV2's stem and C2 at 8 x 320 x 576.
        """
        parts = [self.stem, *self.stages]
        fixed = list(
            takewhile(lambda part: not any(p.requires_grad for p in part.parameters()), parts)
        )
        with torch.no_grad():
            chunks = torch.split(images, 1) if images.device.type == "cpu" else (images,)
            by_chunk = [_run(fixed, chunk) for chunk in chunks]
        return [torch.cat(outputs) for outputs in zip(*by_chunk, strict=True)]

    def release_last_stage(self) -> nn.Module:
        """The stage that makes C5, which from now on is the caller's: `forward` ends with C4."""
        last = self.stages[-1]
        self.stages = self.stages[:-1]
        self.channels = self.channels[:-1]
        return last

    def freeze(self, stages: int) -> None:
        """Fix the first `stages` of (stem, C2, C3, C4, C5)."""
        for part in [self.stem, *self.stages][:stages]:
            part.requires_grad_(False)


def _run(parts: list[nn.Module], features: Tensor) -> list[Tensor]:
    """The output of each of `parts`, of which one feeds the next."""
    outputs = []
    for part in parts:
        features = part(features)
        outputs.append(features)
    return outputs


def build_backbone(config: BackboneConfig) -> Backbone:
    """The network that `config` names, with its weights loaded, norms folded and early stages fixed.

    Raises:
        WeightsError: the weights cannot be read or downloaded, or belong to another network.
    """
    network = torchvision_network(config)
    if config.stride_in == "1x1":
        _stride_in_1x1(network)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = config.norm_epsilon
    fold_frozen_norms(network)
    if config.name == "mobilenet_v2":
        features = network.get_submodule("features")
        assert isinstance(features, nn.Sequential)
        stem: nn.Module = features[0]
        stages: list[nn.Module] = [features[part] for part in MOBILENET_V2_STAGES]
    else:
        children = dict(network.named_children())
        stem = nn.Sequential(children["conv1"], children["relu"], children["maxpool"])
        stages = [children[name] for name in RESNET_STAGES]
    backbone = Backbone(stem, stages, CHANNELS[config.name])
    backbone.freeze(config.frozen_stages)
    return backbone


def _stride_in_1x1(network: nn.Module) -> None:
    for block in network.modules():
        if isinstance(block, Bottleneck):
            block.conv1.stride, block.conv2.stride = block.conv2.stride, block.conv1.stride
