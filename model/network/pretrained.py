"""Networks of torchvision and timm with their ImageNet weights: downloaded, read from a file, or none.

timm is an extra of its own: it is imported only where a network of its is named.
"""

from collections.abc import Mapping
from difflib import get_close_matches
from functools import partial
from http.client import HTTPException
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, get_args

import torch
from torch import Size, Tensor, nn
from torchvision import models as networks
from torchvision.models.resnet import Bottleneck, ResNet

from model.config.detector import BackboneConfig, BackboneName
from model.errors import Refused
from model.network.state_dicts import NoStateDict, state_dict_in
from model.network.torch_file import UnreadableFile, read_torch_file

# A classifier is no part of a backbone: a file may lack it.
CLASSIFIERS = ("classifier.", "fc.", "features.18.", "head.", "heads.")
# ImageNet's, which the weights of all names without a package were trained on.
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class WeightsError(Refused):
    """Backbone weights that cannot be had or do not fit; the message says what was expected and what came."""


class UnfitNetwork(Refused):
    """A name that no network has, or a network that is no backbone of a pyramid; the message says what would be."""


class Described(NamedTuple):
    """What pixels weights expect: (pixel / 255 - mean) / std, red first."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


def pretrained_network(config: BackboneConfig) -> nn.Module:
    """The network that `config` names, in its own layout, with its weights; of timm, what gives its maps.

    Raises:
        WeightsError: they cannot be read or downloaded, or belong to another network.
        UnfitNetwork: there is no such network.
    """
    package, name = _package_and_name(config)
    if package == "timm":
        _require_known(name, _timm().list_models(), "timm")
        return _timm_network(name, config)
    if (
        name == "resnext101_32x4d"
    ):  # of MMDetection and pycls; torchvision has those of 8 and 64 x 4 alone
        if config.weights == "hub":
            raise WeightsError(
                f"expected the path of a file or 'none' as weights of {name}: nobody hosts them"
            )
        network: nn.Module = ResNet(Bottleneck, [3, 4, 23, 3], groups=32, width_per_group=4)
    elif config.weights == "hub":
        _require_known(name, networks.list_models(module=networks), "torchvision")
        network = _downloaded(
            "torchvision", name, partial(networks.get_model, name, weights=_best(name))
        )
    else:
        _require_known(name, networks.list_models(module=networks), "torchvision")
        network = networks.get_model(name, weights=None)
    if config.weights not in ("none", "hub"):
        _load_weights(network, Path(config.weights), name)
    return network


def described(config: BackboneConfig) -> Described:
    """What pixels the weights of `config` expect, as their own description has it.

    Raises:
        UnfitNetwork: it does not say; the configuration must.
    """
    package, name = _package_and_name(config)
    if not config.package:
        return Described(IMAGENET_MEAN, IMAGENET_STD)
    if package == "timm":
        of_weights: Any = _timm().get_pretrained_cfg(name)
    else:
        best = networks.get_model_weights(name)
        of_weights = best[_best(name)].transforms() if _best(name) else None
    mean, std = (getattr(of_weights, part, None) for part in ("mean", "std"))
    if mean is None or std is None or len(mean) != 3 or len(std) != 3:
        raise UnfitNetwork(
            f"expected the mean and deviation of pixels in the description of {config.name}, got none: give"
            " model.pixels.mean and model.pixels.std"
        )
    return Described(*(tuple(float(each) for each in part) for part in (mean, std)))  # type: ignore[arg-type]


def _package_and_name(config: BackboneConfig) -> tuple[str, str]:
    package, _, name = config.name.rpartition(":")
    return package or "torchvision", name


def _require_known(name: str, known: list[str], package: str) -> None:
    base = name.partition(".")[0]  # timm names weights behind a dot
    if base not in known and name not in get_args(BackboneName):
        near = ", ".join(get_close_matches(base, known, n=3, cutoff=0.0))
        raise UnfitNetwork(f"expected a network of {package}, such as {near}, got {name}")


def _best(name: str) -> str:
    """Torchvision's name of the weights that are taken: the first that it published, where it published some."""
    names = [str(each.name) for each in networks.get_model_weights(name)]
    return next((each for each in names if each == "IMAGENET1K_V1"), names[0] if names else "")


def _timm() -> Any:
    try:
        return import_module("timm")
    except ImportError:
        raise UnfitNetwork(
            "a backbone of timm needs it installed: pip install 'fpn-serve[timm]'"
        ) from None


def _timm_network(name: str, config: BackboneConfig) -> nn.Module:
    create = partial(_timm().create_model, name, features_only=True)
    if config.weights == "hub":
        return _downloaded("timm", name, partial(create, pretrained=True))
    try:
        network: nn.Module = create(pretrained=False)
    except (RuntimeError, AssertionError, AttributeError, ValueError, TypeError) as error:
        raise UnfitNetwork(f"timm's {name} gives no maps of several strides ({error})") from None
    if config.weights != "none":
        with torch.device("meta"):
            whole = _timm().create_model(name, pretrained=False).state_dict()
        # what gives maps is named with lines for dots
        by_line = {key.replace(".", "_"): key for key in whole}
        keys = network.state_dict()
        spelled = {key: by_line.get(key.replace(".", "_"), key) for key in keys}
        _load_weights(network, Path(config.weights), name, spelled)
    return network


def _downloaded(package: str, name: str, fetch: partial[nn.Module]) -> nn.Module:
    try:
        return fetch()
    except (OSError, HTTPException, RuntimeError) as error:
        # a RuntimeError: not the file of that hash
        told = " ".join(str(error).split())
        raise WeightsError(
            f"backbone.weights = 'hub': {package}'s {name} could not be downloaded ({told}). Fetch the file on a"
            " machine with a network and give its path as model.backbone.weights, or 'none' to start from scratch."
        ) from None


def _load_weights(
    network: nn.Module, path: Path, name: str, spelled: Mapping[str, str] | None = None
) -> None:
    """Load the file at `path`, whose keys are those of `network`, or what they are `spelled` as."""
    package = "torchvision" if spelled is None else "timm"
    spelled = spelled or {}
    try:
        content = read_torch_file(path)
    except UnreadableFile as error:
        raise WeightsError(
            f"{path}: expected a state dict of {package}'s {name}, got {error}"
        ) from None
    expected = {spelled.get(key, key): value for key, value in network.state_dict().items()}
    try:
        found = state_dict_in(content, next(iter(expected)))
    except NoStateDict as error:
        raise WeightsError(f"{path}: not the weights of {name}: {error}") from None
    needed = {key for key in expected if not key.startswith(CLASSIFIERS)}
    needed -= {key for key in needed if key.endswith("num_batches_tracked")}
    missing = sorted(needed - found.keys())
    wrong = [
        key for key in sorted(needed & found.keys()) if _shape(found[key]) != expected[key].shape
    ]
    if missing or wrong:
        raise WeightsError(
            f"{path}: not the weights of {name}: {len(missing)} tensors are missing {missing[:3]},"
            f" {len(wrong)} have another shape {wrong[:3]}"
        )
    own = {spelled.get(key, key): key for key in network.state_dict()}
    network.load_state_dict({own[key]: found[key] for key in needed}, strict=False)


def _shape(value: object) -> Size | None:
    return value.shape if isinstance(value, Tensor) else None
