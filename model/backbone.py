"""Bottom-up networks behind one interface: an image goes in, (C2, C3, C4, C5) come out.

Source: section 3 of the FPN paper ("bottom-up pathway"): the output of the last block of each stage, at strides
4, 8, 16 and 32. The networks are torchvision's; for MobileNetV2 the last block of each stride plays that part.

Batch normalisation is frozen (statistics and affine part fixed, as in Faster R-CNN fine-tuning) and folded: a
convolution and its norm are one `FrozenNormConv2d`, which scales its weight instead of its output. That is the same
function and the same gradient, without a pass over the feature map.

Legend
    N       images              H W  of the input, multiples of 32
    stem    what comes before the first stage
    C2..C5  a stage's output, [N, channels, H / stride, W / stride]
"""

from http.client import HTTPException
from itertools import takewhile
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision import models as networks
from torchvision.models.resnet import Bottleneck

from model.config import BackboneConfig
from model.torch_file import UnreadableFile, read_torch_file

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


# A classifier is no part of a backbone: a file may lack it.
CLASSIFIERS = ("classifier.", "fc.", "features.18.")


class WeightsError(ValueError):
    """Backbone weights that cannot be had or do not fit; the message says what was expected and what came."""


class FrozenNormConv2d(nn.Conv2d):
    """A convolution whose frozen batch norm is folded into its weight at every call.

    Buffers `scale` and `shift` [out_channels] float32 are norm.weight / sqrt(running_var + eps) and
    norm.bias - running_mean * scale. The weight stays the unscaled one, so training sees the network it knows.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
        super().__init__(
            convolution.in_channels,
            convolution.out_channels,
            kernel_size=convolution.kernel_size,  # type: ignore[arg-type]
            stride=convolution.stride,  # type: ignore[arg-type]
            padding=convolution.padding,  # type: ignore[arg-type]
            groups=convolution.groups,
            bias=False,
        )
        self.weight = convolution.weight
        assert norm.running_mean is not None
        assert norm.running_var is not None
        scale = norm.weight.detach() / torch.sqrt(norm.running_var + norm.eps)
        self.register_buffer("scale", scale)
        self.register_buffer("shift", norm.bias.detach() - norm.running_mean * scale)

    def forward(self, input: Tensor) -> Tensor:
        """The normalised convolution of `input` [N, in_channels, H, W]."""
        weight = self.weight * self.scale[:, None, None, None]
        if self._thin_out(input):
            every = F.conv2d(input, weight, self.shift, 1, self.padding, groups=self.groups)
            return F.avg_pool2d(every, 1, self.stride)
        return F.conv2d(input, weight, self.shift, self.stride, self.padding, groups=self.groups)

    def _thin_out(self, input: Tensor) -> bool:
        """Whether to compute every output and drop those between the strides, for the gradient's sake.

        oneDNN's gradient of a strided depthwise convolution in bfloat16 takes three to seven times as long as that.
        """
        return (
            self.groups > 1
            and self.stride != (1, 1)
            and input.requires_grad
            and torch.is_autocast_enabled("cpu")
        )

    def folded(self) -> nn.Conv2d:
        """A plain convolution of the same function, for inference."""
        plain = nn.Conv2d(
            self.in_channels,
            self.out_channels,
            kernel_size=self.kernel_size,  # type: ignore[arg-type]
            stride=self.stride,  # type: ignore[arg-type]
            padding=self.padding,  # type: ignore[arg-type]
            groups=self.groups,
        )
        plain.weight = nn.Parameter(self.weight.detach() * self.scale[:, None, None, None])
        plain.bias = nn.Parameter(self.shift.clone())
        return plain


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
    network = _network(config)
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


def fold_frozen_norms(module: nn.Module) -> None:
    """Replace, in place, every convolution that a batch norm follows by one `FrozenNormConv2d`."""
    children = list(module.named_children())
    for (name, child), (next_name, follower) in zip(children, children[1:], strict=False):
        if isinstance(child, nn.Conv2d) and isinstance(follower, nn.BatchNorm2d):
            setattr(module, name, FrozenNormConv2d(child, follower))
            setattr(module, next_name, nn.Identity())
    for child in module.children():
        fold_frozen_norms(child)


def _stride_in_1x1(network: nn.Module) -> None:
    for block in network.modules():
        if isinstance(block, Bottleneck):
            block.conv1.stride, block.conv2.stride = block.conv2.stride, block.conv1.stride


def _network(config: BackboneConfig) -> nn.Module:
    if config.weights == "hub":
        return _downloaded(config.name)
    network: nn.Module = networks.get_model(config.name, weights=None)
    if config.weights != "none":
        _load_weights(network, Path(config.weights), config.name)
    return network


def _downloaded(name: str) -> nn.Module:
    try:
        network: nn.Module = networks.get_model(name, weights="IMAGENET1K_V1")
    except (OSError, HTTPException, RuntimeError) as error:  # the last: not the file of that hash
        raise WeightsError(
            f"backbone.weights = 'hub': torchvision's {name} could not be downloaded ({error}). Fetch the file on a"
            " machine with a network and give its path as model.backbone.weights, or 'none' to start from scratch."
        ) from None
    return network


def _load_weights(network: nn.Module, path: Path, name: str) -> None:
    try:
        state = read_torch_file(path)
    except UnreadableFile as error:
        raise WeightsError(
            f"{path}: expected a state dict of torchvision's {name}, got {error}"
        ) from None
    expected = network.state_dict()
    needed = {key for key in expected if not key.startswith(CLASSIFIERS)}
    needed -= {key for key in needed if key.endswith("num_batches_tracked")}
    found = state if isinstance(state, dict) else {}
    missing = sorted(needed - found.keys())
    wrong = [
        key
        for key in sorted(needed & found.keys())
        if not isinstance(found[key], Tensor) or found[key].shape != expected[key].shape
    ]
    if missing or wrong:
        raise WeightsError(
            f"{path}: not the weights of {name}: {len(missing)} tensors are missing {missing[:3]},"
            f" {len(wrong)} have another shape {wrong[:3]}"
        )
    network.load_state_dict({key: found[key] for key in needed}, strict=False)
