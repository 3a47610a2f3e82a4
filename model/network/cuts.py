"""Any network of torchvision or timm, cut into a stem and stages by the strides of its maps.

A network of torchvision is a chain of modules; it is run once on a small image, and cut behind the last module of each
stride, or where the configuration says. timm gives maps itself. Either way the network has maps at strides that double
and takes any frame, or it is refused.

Legend
    step    a module of the chain, by its name: a child of the network, or of a sequence among its children
    stride  how many pixels of the input a cell of a step's map is wide and high
"""

import copy
from collections import OrderedDict
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from model.config.detector import STRIDES, BackboneConfig
from model.network.backbones import Backbone, MapsBackbone
from model.network.frozen_norm import fold_frozen_norms, freeze_norms
from model.network.pretrained import UnfitNetwork

# (height, width) of what a network is tried on: unequal, and 2 and 3 cells of the coarsest stride.
TRIED = (64, 96)
# How much a value may change by folding, of the largest.
FOLDING_NOISE = 1e-3


class _Step(NamedTuple):
    name: str
    module: nn.Module
    stride: int
    channels: int


def cut_network(network: nn.Module, config: BackboneConfig) -> Backbone:
    """`network` as a backbone, its batch norms frozen, and folded where a convolution comes before them.

    Raises:
        UnfitNetwork: it has no maps at strides that double, or no taps of such names.
    """
    network = _frozen(network.eval())
    if config.name.startswith("timm:"):
        return _of_maps(network, config)
    steps = _steps(network)
    if config.taps:
        taps = _tapped(steps, config)
    else:
        last = {step.stride: place for place, step in enumerate(steps)}
        taps = [last[stride] for stride in STRIDES if stride in last]
    if len(taps) < 2:
        raise UnfitNetwork(
            f"expected a backbone with maps at strides that double, as {list(STRIDES)}; {config.name} has"
            f" {sorted({step.stride for step in steps})}: a network of one stride, as a plain ViT, has no pyramid"
        )
    return _cut(steps, taps)


def _cut(steps: list[_Step], taps: list[int]) -> Backbone:
    """Stages that end with the steps at the places `taps`; the stem is what comes before stride 4."""
    begins = next(place for place, step in enumerate(steps) if step.stride >= STRIDES[0])
    # finer stages that nobody takes: learning ends and freezing counts by stages
    last = {step.stride: place for place, step in enumerate(steps)}
    finer = [place for s, place in last.items() if STRIDES[0] <= s < steps[taps[0]].stride]
    ends = [*finer, *taps]
    parts = [
        _sequence(steps[after + 1 : end + 1])
        for after, end in zip([begins - 1, *ends[:-1]], ends, strict=True)
    ]
    channels = tuple(steps[end].channels for end in ends)
    strides = tuple(steps[end].stride for end in ends)
    return Backbone(_sequence(steps[:begins]), parts, channels, strides)


def _tapped(steps: list[_Step], config: BackboneConfig) -> list[int]:
    names = [step.name for step in steps]
    unknown = [tap for tap in config.taps if tap not in names]
    if unknown:
        raise UnfitNetwork(
            f"model.backbone.taps: {config.name} has no {unknown[0]}; it has {', '.join(names)}"
        )
    return sorted(names.index(tap) for tap in config.taps)


def _sequence(steps: list[_Step]) -> nn.Sequential:
    # a name may have no dots, and the last part is its own within a sequence
    return nn.Sequential(OrderedDict((step.name.rpartition(".")[2], step.module) for step in steps))


def _steps(network: nn.Module) -> list[_Step]:
    """The steps that the network runs in order on an image, up to where they make no map of a coarser stride."""
    modules: list[tuple[str, nn.Module]] = []
    for name, child in network.named_children():
        inner = list(child.named_children()) if isinstance(child, nn.Sequential) else []
        # a ResNet's layer is a stage of its own; what holds the whole network is opened
        opened = inner and any(_halvings(each) for _, each in inner[1:]) and len(inner) > 3
        modules += [(f"{name}.{key}", each) for key, each in inner] if opened else [(name, child)]
    seen = _outputs(network, [module for _, module in modules])
    steps: list[_Step] = []
    image = features = _image()
    for (name, module), expected in zip(modules, seen, strict=True):
        try:
            with torch.no_grad():
                features = module(features)
        except (
            RuntimeError,
            TypeError,
            ValueError,
            IndexError,
            AttributeError,
            NotImplementedError,
        ):
            break
        stride = _stride(features, image)
        # a classifier's map is of one cell; what the network itself computes otherwise is no chain
        if stride is None or stride > STRIDES[-1] or not _same(features, expected):
            break
        steps.append(_Step(name, module, stride, features.shape[1]))
    return steps


def _halvings(module: nn.Module) -> bool:
    return any(getattr(each, "stride", 1) in (2, (2, 2)) for each in module.modules())


def _outputs(network: nn.Module, modules: list[nn.Module]) -> list[Tensor | None]:
    """What each of `modules` puts out while the network runs as a whole."""
    found: dict[nn.Module, Tensor] = {}

    def keep(module: nn.Module, _: Any, output: Any) -> None:
        found[module] = output.clone() if isinstance(output, Tensor) else output

    handles = [module.register_forward_hook(keep) for module in modules]
    try:
        with torch.no_grad():
            network(_image())
    except (RuntimeError, AssertionError, ValueError, TypeError):
        pass  # it takes no image of that size: what it did up to there is looked at
    finally:
        for handle in handles:
            handle.remove()
    return [found.get(module) for module in modules]


def _image() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn((1, 3, *TRIED), generator=generator)


def _stride(features: Any, image: Tensor) -> int | None:
    """The stride of a map [1, c, h, w], the same both ways and a power of two; None where it is no such map."""
    if not isinstance(features, Tensor) or features.dim() != 4:
        return None
    sides = [(given, got) for given, got in zip(image.shape[2:], features.shape[2:], strict=True)]
    strides = {given // got for given, got in sides if got and given % got == 0}
    whole = len(strides) == 1 and all(got and given % got == 0 for given, got in sides)
    stride = strides.pop() if whole else 0
    return stride if stride and stride & (stride - 1) == 0 else None


def _same(features: Tensor, expected: Any) -> bool:
    if not isinstance(expected, Tensor) or expected.shape != features.shape:
        return False
    return torch.allclose(features, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))


def _frozen(network: nn.Module) -> nn.Module:
    """`network` with its norms folded, or frozen in their places where another order of its modules forbids folding.

    The order is tried with norms that do something, so that it does not depend on the weights.
    """
    tried = copy.deepcopy(network)
    generator = torch.Generator().manual_seed(0)
    for module in tried.modules():
        if isinstance(module, nn.BatchNorm2d) and module.running_mean is not None:
            module.running_mean.copy_(torch.rand(module.num_features, generator=generator))
    folded = copy.deepcopy(tried)
    fold_frozen_norms(folded)
    foldable = _alike(tried, folded)
    if foldable:
        fold_frozen_norms(network)
    freeze_norms(network)
    return network


def _alike(network: nn.Module, other: nn.Module) -> bool:
    with torch.no_grad():
        try:
            one, two = network(_image()), other(_image())
        except (RuntimeError, AssertionError, ValueError, TypeError):
            return False
    pairs = zip(
        *([each] if isinstance(each, Tensor) else list(each) for each in (one, two)), strict=True
    )
    return all(
        float((a - b).abs().max()) <= FOLDING_NOISE * float(a.abs().max() + 1e-6) for a, b in pairs
    )


def _of_maps(network: nn.Module, config: BackboneConfig) -> MapsBackbone:
    """A network of timm, which gives the maps itself."""
    image = _image()
    try:
        with torch.no_grad():
            maps = network(image)
    except (RuntimeError, AssertionError, ValueError, TypeError) as error:
        told = " ".join(str(error).split())
        raise UnfitNetwork(
            f"expected a backbone that takes frames of any size, as a plain ViT does not, got {config.name} ({told})"
        ) from None
    last = {(_stride(each, image) or 0): place for place, each in enumerate(maps)}
    strides = tuple(stride for stride in STRIDES if stride in last)
    if len(strides) < 2:
        found = [_stride(each, image) for each in maps]
        raise UnfitNetwork(
            f"expected a backbone with maps at strides that double, as {list(STRIDES)}; {config.name} has"
            f" {[each for each in found if each]}: a network of one stride, as a plain ViT, has no pyramid"
        )
    places = tuple(last[stride] for stride in strides)
    return MapsBackbone(network, places, tuple(maps[p].shape[1] for p in places), strides)
