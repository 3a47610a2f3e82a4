import io
import urllib.request
from collections.abc import Callable, Iterator
from email.message import Message
from pathlib import Path
from typing import get_args
from urllib.response import addinfourl

import pytest
import torch
from torch import Tensor, nn
from torchvision import models as networks
from torchvision.ops import FrozenBatchNorm2d

from model.config.detector import BackboneConfig, BackboneName
from model.config.resize import FRAME_STRIDE
from model.network.backbone import CHANNELS, build_backbone
from model.network.frozen_norm import FrozenNormConv2d, fold_frozen_norms
from model.network.pretrained import WeightsError

NAMES: tuple[BackboneName, ...] = get_args(BackboneName)
HUB_FILE = "mobilenet_v2-b0353104.pth"


def random_norms(network: nn.Module) -> nn.Module:
    """The network with norms as they may be after training, in evaluation mode."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.3)
            nn.init.normal_(module.running_mean, std=0.3)
            nn.init.uniform_(module.running_var, 0.3, 3.0)
    return network.eval()


def pair(**options: int) -> tuple[nn.Conv2d, nn.BatchNorm2d]:
    torch.manual_seed(0)
    sequence = nn.Sequential(
        nn.Conv2d(6, 4, 3, bias=False, **options),  # type: ignore[arg-type]
        nn.BatchNorm2d(4),
    )
    random_norms(sequence)
    convolution, norm = sequence
    assert isinstance(convolution, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    return convolution, norm


def frozen_norm(norm: nn.BatchNorm2d) -> nn.Module:
    frozen: nn.Module = FrozenBatchNorm2d(norm.num_features, eps=norm.eps)
    frozen.load_state_dict(norm.state_dict())
    return frozen


@pytest.mark.parametrize("name", NAMES)
def test_every_network_gives_maps_at_strides_4_to_32(name: BackboneName) -> None:
    with torch.device("meta"):  # shapes alone
        backbone = build_backbone(BackboneConfig(name=name, weights="none"))
        maps = backbone(torch.zeros(2, 3, 64, 160))
    strides = (4, 8, 16, 32)
    expected = [(2, c, 64 // s, 160 // s) for c, s in zip(backbone.channels, strides, strict=True)]
    assert [tuple(each.shape) for each in maps] == expected
    assert backbone.channels == CHANNELS[name]


@pytest.mark.parametrize("name", NAMES)
def test_the_coarsest_map_of_a_frame_has_a_cell_for_each_of_its_strides(name: BackboneName) -> None:
    with torch.device("meta"):
        backbone = build_backbone(BackboneConfig(name=name, weights="none"))
        maps = backbone(torch.zeros(1, 3, 2 * FRAME_STRIDE, 5 * FRAME_STRIDE))
    assert maps[-1].shape[-2:] == (2, 5)


@pytest.mark.parametrize("reference", [lambda norm: norm, frozen_norm])
@pytest.mark.parametrize("options", [{}, {"stride": 2, "padding": 1}, {"groups": 2}])
def test_a_folded_norm_is_the_convolution_and_the_frozen_norm(
    reference: Callable[[nn.BatchNorm2d], nn.Module], options: dict[str, int]
) -> None:
    convolution, norm = pair(**options)
    folded = FrozenNormConv2d(convolution, norm)
    images, direction = torch.randn(2, 6, 9, 14), torch.Generator().manual_seed(1)
    expected = reference(norm)(convolution(images))
    weights = torch.randn(expected.shape, generator=direction)
    [expected_gradient] = torch.autograd.grad((expected * weights).sum(), [convolution.weight])
    got = folded(images)
    [gradient] = torch.autograd.grad((got * weights).sum(), [folded.weight])
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(gradient, expected_gradient, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("options", [{}, {"stride": 2, "padding": 1}, {"groups": 2}])
def test_the_plain_convolution_is_the_same_function(options: dict[str, int]) -> None:
    folded = FrozenNormConv2d(*pair(**options))
    images = torch.randn(2, 6, 9, 14)
    torch.testing.assert_close(folded.folded()(images), folded(images))


def test_only_convolutions_with_a_norm_behind_them_are_folded() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 5, 1), nn.BatchNorm2d(5))
    fold_frozen_norms(network)
    kinds = [nn.Conv2d, nn.ReLU, FrozenNormConv2d, nn.Identity]
    assert [type(module) for module in network] == kinds


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


def test_weights_without_the_classifier_suffice(tmp_path: Path) -> None:
    state = networks.mobilenet_v2(weights=None).state_dict()
    kept = {k: v for k, v in state.items() if not k.startswith(("classifier", "features.18"))}
    torch.save(kept, tmp_path / "weights.pth")
    path = str(tmp_path / "weights.pth")
    backbone = build_backbone(BackboneConfig(name="mobilenet_v2", weights=path))
    assert torch.equal(backbone.stem.get_parameter("0.weight"), kept["features.0.0.weight"])


def test_weights_of_another_network_are_refused_with_what_differs(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save(networks.resnet18(weights=None).state_dict(), path)
    with pytest.raises(WeightsError, match=r"not the weights of resnet50: [1-9]\d* .*layer1") as e:
        build_backbone(BackboneConfig(name="resnet50", weights=str(path)))
    assert str(path) in str(e.value)


def test_weights_of_another_shape_are_refused_by_name(tmp_path: Path) -> None:
    state = networks.resnet18(weights=None).state_dict()
    state["layer2.0.conv1.weight"] = torch.zeros(1, 2, 3, 3)
    state["layer2.0.conv2.weight"] = "no tensor at all"
    torch.save(state, tmp_path / "weights.pth")
    expected = r"2 have another shape \['layer2.0.conv1.weight', 'layer2.0.conv2.weight'\]"
    with pytest.raises(WeightsError, match=expected):
        build_backbone(BackboneConfig(name="resnet18", weights=str(tmp_path / "weights.pth")))


@pytest.mark.parametrize("content", [b"", b"some text", bytes(range(256)), b"PK\x03\x04 truncated"])
def test_a_file_that_is_none_of_torchs_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="expected a state dict of torchvision's resnet18") as e:
        build_backbone(BackboneConfig(name="resnet18", weights=str(path)))
    assert "\n" not in str(e.value)


def test_a_missing_file_is_refused_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"absent.pth: .*No such file"):
        build_backbone(BackboneConfig(name="resnet18", weights=str(tmp_path / "absent.pth")))


class Unreachable(urllib.request.BaseHandler):
    """A network that is not there."""

    def https_open(self, request: urllib.request.Request) -> addinfourl:
        raise urllib.error.URLError("no route to host")


class LoginPage(urllib.request.BaseHandler):
    """A network that answers every request with a page of its own."""

    def https_open(self, request: urllib.request.Request) -> addinfourl:
        response = addinfourl(io.BytesIO(b"<html>log in"), Message(), request.full_url, 200)
        response.msg = "OK"  # type: ignore[attr-defined]  # what urllib's error processor reads
        return response


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The hub's empty cache; afterwards urllib is as it was."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    yield tmp_path / "hub" / "checkpoints"
    urllib.request.install_opener(None)  # as it starts: the next use builds a plain one


@pytest.mark.parametrize("network", [Unreachable, LoginPage])
def test_weights_that_cannot_be_downloaded_are_refused_with_advice(
    hub: Path, network: type[urllib.request.BaseHandler]
) -> None:
    urllib.request.install_opener(urllib.request.build_opener(network))
    with pytest.raises(WeightsError, match="give its path as model.backbone.weights") as caught:
        build_backbone(BackboneConfig(name="mobilenet_v2", weights="hub"))
    assert "mobilenet_v2 could not be downloaded" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list(hub.iterdir())


def test_weights_of_the_hub_are_loaded(hub: Path) -> None:
    urllib.request.install_opener(urllib.request.build_opener(Unreachable))  # the cache suffices
    state = networks.mobilenet_v2(weights=None).state_dict()
    hub.mkdir(parents=True)
    torch.save(state, hub / HUB_FILE)
    backbone = build_backbone(BackboneConfig(name="mobilenet_v2", weights="hub"))
    assert torch.equal(backbone.stem.get_parameter("0.weight"), state["features.0.0.weight"])


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
    assert backbone.channels == CHANNELS[name][:3]
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


def test_a_thinned_out_convolution_is_the_strided_one() -> None:
    torch.manual_seed(0)
    convolution = nn.Conv2d(6, 6, 3, stride=2, padding=1, groups=6, bias=False)
    layer = FrozenNormConv2d(convolution, nn.BatchNorm2d(6).eval())
    images = torch.randn(2, 6, 14, 20)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        strided, thinned = layer(images), layer(images.requires_grad_())
    assert "AvgPool" in type(thinned.grad_fn).__name__
    torch.testing.assert_close(thinned, strided)


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
