"""torchvision's networks with their ImageNet weights: downloaded, read from a file, or none."""

from http.client import HTTPException
from pathlib import Path

from torch import Size, Tensor, nn
from torchvision import models as networks

from model.config.detector import BackboneConfig
from model.errors import Refused
from model.network.state_dicts import NoStateDict, state_dict_in
from model.network.torch_file import UnreadableFile, read_torch_file

# A classifier is no part of a backbone: a file may lack it.
CLASSIFIERS = ("classifier.", "fc.", "features.18.")


class WeightsError(Refused):
    """Backbone weights that cannot be had or do not fit; the message says what was expected and what came."""


def torchvision_network(config: BackboneConfig) -> nn.Module:
    """The whole network that `config` names, in its own layout, with its weights.

    Raises:
        WeightsError: they cannot be read or downloaded, or belong to another network.
    """
    if config.weights == "hub":
        return _downloaded(config.name)
    network: nn.Module = networks.get_model(config.name, weights=None)
    if config.weights != "none":
        _load_weights(network, Path(config.weights), config.name)
    return network


def _downloaded(name: str) -> nn.Module:
    try:
        network: nn.Module = networks.get_model(name, weights="IMAGENET1K_V1")
    except (OSError, HTTPException, RuntimeError) as error:
        # a RuntimeError: not the file of that hash
        raise WeightsError(
            f"backbone.weights = 'hub': torchvision's {name} could not be downloaded ({error}). Fetch the file on a"
            " machine with a network and give its path as model.backbone.weights, or 'none' to start from scratch."
        ) from None
    return network


def _load_weights(network: nn.Module, path: Path, name: str) -> None:
    try:
        content = read_torch_file(path)
    except UnreadableFile as error:
        raise WeightsError(
            f"{path}: expected a state dict of torchvision's {name}, got {error}"
        ) from None
    expected = network.state_dict()
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
    network.load_state_dict({key: found[key] for key in needed}, strict=False)


def _shape(value: object) -> Size | None:
    return value.shape if isinstance(value, Tensor) else None
