from pathlib import Path
from typing import get_args

import pytest
import torch
from torch import Tensor, nn
from torchvision import models as networks

from model.config.detector import BackboneConfig, BackboneName
from model.config.resize import FRAME_STRIDE
from model.network.backbone import BOTTLENECK_CHANNELS, CHANNELS, build_backbone
from model.network.frozen_norm import FrozenNormConv2d
from tests.model.network.networks import random_norms

NAMES: tuple[BackboneName, ...] = get_args(BackboneName)


@pytest.mark.parametrize("name", NAMES)
def test_every_network_gives_maps_at_strides_4_to_32(name: BackboneName) -> None:
    with torch.device("meta"):  # shapes alone
        backbone = build_backbone(BackboneConfig(name=name, weights="none"))
        maps = backbone(torch.zeros(2, 3, 64, 160))
    strides = (4, 8, 16, 32)
    expected = [(2, c, 64 // s, 160 // s) for c, s in zip(backbone.channels, strides, strict=True)]
    assert [tuple(each.shape) for each in maps] == expected
    assert backbone.channels == CHANNELS.get(name, BOTTLENECK_CHANNELS)


@pytest.mark.parametrize("name", NAMES)
def test_the_coarsest_map_of_a_frame_has_a_cell_for_each_of_its_strides(name: BackboneName) -> None:
    with torch.device("meta"):
        backbone = build_backbone(BackboneConfig(name=name, weights="none"))
        maps = backbone(torch.zeros(1, 3, 2 * FRAME_STRIDE, 5 * FRAME_STRIDE))
    assert maps[-1].shape[-2:] == (2, 5)


def stages_of(name: str, network: nn.Module, images: Tensor) -> list[Tensor]:
    """The last map of each stride, of torchvision's own network."""
    if name == "mobilenet_v2":
        features = network.get_submodule("features")
        assert isinstance(features, nn.Sequential)
        return [features[:end](images) for end in (4, 7, 14, 18)]
    modules = dict(network.named_children())
    maps = [modules["maxpool"](modules["relu"](modules["bn1"](modules["conv1"](images))))]
    for stage in ("layer1", "layer2", "layer3", "layer4"):
        maps.append(modules[stage](maps[-1]))
    return maps[1:]


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "mobilenet_v2"])
def test_a_backbone_computes_what_torchvisions_network_does_with_those_weights(
    tmp_path: Path, name: BackboneName
) -> None:
    torch.manual_seed(0)
    network = random_norms(networks.get_model(name, weights=None))
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    backbone = build_backbone(BackboneConfig(name=name, weights=str(tmp_path / "weights.pth")))
    images = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        for got, expected in zip(
            backbone.train()(images), stages_of(name, network, images), strict=True
        ):
            torch.testing.assert_close(got, expected, atol=2e-4, rtol=1e-3)


@pytest.mark.parametrize(
    ("name", "frozen"),
    [("mobilenet_v2", 2), *(("resnet18", frozen) for frozen in (0, 1, 4, 5))],
)
def test_frozen_stages_get_no_gradient_and_the_others_do(name: BackboneName, frozen: int) -> None:
    backbone = build_backbone(BackboneConfig(name=name, weights="none", frozen_stages=frozen))
    parts = [backbone.stem, *backbone.stages]
    if frozen < 5:
        maps = backbone(torch.randn(1, 3, 32, 64))
        torch.autograd.backward([c.square().mean() for c in maps if c.requires_grad])
    for number, part in enumerate(parts):
        trained = [p.grad is not None and bool(p.grad.any()) for p in part.parameters()]
        assert trained
        assert all(trained) == any(trained) == (number >= frozen)


def test_norms_have_no_parameters_and_their_statistics_stay() -> None:
    backbone = build_backbone(BackboneConfig(name="resnet18", weights="none", frozen_stages=0))
    before = {name: value.clone() for name, value in backbone.named_buffers()}
    backbone.train()(torch.randn(2, 3, 32, 64))
    assert all(name.endswith("weight") for name, _ in backbone.named_parameters())
    assert all(torch.equal(value, before[name]) for name, value in backbone.named_buffers())
    assert not any(isinstance(module, nn.BatchNorm2d) for module in backbone.modules())


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2"])
def test_a_backbone_without_its_last_stage_ends_with_c4(name: BackboneName) -> None:
    torch.manual_seed(0)
    backbone = build_backbone(BackboneConfig(name=name, weights="none"))
    images = torch.randn(1, 3, 64, 96)
    *others, c5 = backbone(images)
    stage = backbone.release_last_stage()
    shorter = backbone(images)
    assert [torch.equal(a, b) for a, b in zip(shorter, others, strict=True)] == [True] * 3
    torch.testing.assert_close(stage(shorter[-1]), c5)
    assert backbone.channels == CHANNELS.get(name, BOTTLENECK_CHANNELS)[:3]
    assert not {id(p) for p in stage.parameters()} & {id(p) for p in backbone.parameters()}


@pytest.mark.parametrize("frozen", [0, 2, 5])
def test_what_is_fixed_is_the_same_image_by_image_as_in_a_batch(frozen: int) -> None:
    torch.manual_seed(0)
    config = BackboneConfig(name="mobilenet_v2", weights="none", frozen_stages=frozen)
    backbone, images = build_backbone(config), torch.randn(3, 3, 64, 96)
    together = backbone.eval()(images)
    for got, expected in zip(backbone.train()(images), together, strict=True):
        torch.testing.assert_close(got, expected)
        assert got.is_contiguous() == expected.is_contiguous()


def test_a_bottleneck_may_halve_the_map_in_its_first_convolution() -> None:
    config = BackboneConfig(name="resnet50", weights="none", stride_in="1x1")
    with torch.device("meta"):
        blocks = [stage[0] for stage in build_backbone(config).stages]  # type: ignore[index]
    strides = [(block.conv1.stride, block.conv2.stride) for block in blocks]
    assert strides == [((1, 1), (1, 1))] + [((2, 2), (1, 1))] * 3
    with pytest.raises(ValueError, match="resnet18 has no bottlenecks"):
        BackboneConfig(name="resnet18", stride_in="1x1")


def test_the_norms_epsilon_is_the_configurations() -> None:
    backbone = build_backbone(BackboneConfig("resnet18", weights="none", norm_epsilon=3.0))
    norms = [m for m in backbone.modules() if isinstance(m, FrozenNormConv2d)]
    assert all(torch.equal(norm.scale, torch.full_like(norm.scale, 0.5)) for norm in norms)
