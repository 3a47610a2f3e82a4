"""Bottom-up networks behind one interface: an image goes in, (C2, C3, C4, C5) come out.

Source: section 3 of the FPN paper ("bottom-up pathway"): the output of the last block of each stage, at strides
4, 8, 16 and 32. ResNets, ResNeXts and MobileNetV2 are cut here, for MobileNetV2 the last block of each stride plays
that part; any other network of a package is cut in cuts.py.

Legend
    N   images              H W  of the input, multiples of 32
    stem    what comes before the first stage
    C2..C5  a stage's output, [N, channels, H / stride, W / stride]
"""

from torch import nn
from torchvision.models.resnet import Bottleneck

from model.config.detector import BackboneConfig
from model.network.backbones import STRIDES, Backbone
from model.network.cuts import cut_network
from model.network.frozen_norm import fold_frozen_norms
from model.network.pretrained import pretrained_network

# Which of torchvision's modules end in C2..C5, and how many channels those have. MobileNetV2's features[0] is its
# stem, as conv1 is a ResNet's, and its last 1x1 convolution (features[18]) belongs to the classifier.
RESNET_STAGES = ("layer1", "layer2", "layer3", "layer4")
MOBILENET_V2_STAGES = (slice(1, 4), slice(4, 7), slice(7, 14), slice(14, 18))

# Of C2..C5; of every other name, a network of bottlenecks, BOTTLENECK_CHANNELS.
CHANNELS = {
    "resnet18": (64, 128, 256, 512),
    "resnet34": (64, 128, 256, 512),
    "mobilenet_v2": (24, 32, 96, 320),
}
BOTTLENECK_CHANNELS = (256, 512, 1024, 2048)


def build_backbone(config: BackboneConfig) -> Backbone:
    """The network that `config` names, with its weights loaded, norms folded and early stages fixed.

    Raises:
        WeightsError: the weights cannot be read or downloaded, or belong to another network.
        UnfitNetwork: there is no such network, or it has no maps at strides that double.
    """
    network = pretrained_network(config)
    if config.stride_in == "1x1":
        _stride_in_1x1(network)
    if config.norm_epsilon is not None:
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eps = config.norm_epsilon
    backbone = (
        cut_network(network, config)
        if config.package
        else Backbone(
            *_stem_and_stages(network, config),
            CHANNELS.get(config.name, BOTTLENECK_CHANNELS),
            _strides(config),
        )
    )
    backbone.freeze(config.frozen_stages)
    return backbone


def _stem_and_stages(
    network: nn.Module, config: BackboneConfig
) -> tuple[nn.Module, list[nn.Module]]:
    fold_frozen_norms(network)
    if config.name == "mobilenet_v2":
        features = network.get_submodule("features")
        assert isinstance(features, nn.Sequential)
        return features[0], [features[part] for part in MOBILENET_V2_STAGES]
    children = dict(network.named_children())
    if config.dilated:
        _dilate(children[RESNET_STAGES[-1]])
    stem = nn.Sequential(children["conv1"], children["relu"], children["maxpool"])
    return stem, [children[name] for name in RESNET_STAGES]


def _strides(config: BackboneConfig) -> tuple[int, ...]:
    return (*STRIDES[:-1], STRIDES[-2]) if config.dilated else STRIDES


def _stride_in_1x1(network: nn.Module) -> None:
    for block in network.modules():
        if isinstance(block, Bottleneck):
            block.conv1.stride, block.conv2.stride = block.conv2.stride, block.conv1.stride


def _dilate(stage: nn.Module) -> None:
    """Without its stride, its 3x3 convolutions look twice as far, so that each sees what it did (Detectron2's DC5)."""
    for module in stage.modules():
        if isinstance(module, nn.Conv2d):
            module.stride = (1, 1)
            if module.kernel_size == (3, 3):
                module.dilation = module.padding = (2, 2)
