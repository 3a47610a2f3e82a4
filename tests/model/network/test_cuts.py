"""Any network of a package as a backbone."""

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import get_model

from model.config.detector import BackboneConfig, DetectorConfig, PixelConfig, PyramidConfig
from model.network.backbone import build_backbone
from model.network.detector import Detector, with_pixels
from model.network.frozen_norm import FrozenNorm, FrozenNormConv2d
from model.network.pretrained import UnfitNetwork, WeightsError
from tests.model.network.networks import random_norms

CHAINS = {
    "mobilenet_v3_small": (16, 24, 48, 576),
    "efficientnet_b0": (24, 40, 112, 1280),
    "regnet_y_400mf": (48, 104, 208, 440),
    "convnext_tiny": (96, 192, 384, 768),
    "densenet121": (128, 256, 512, 1024),
    "shufflenet_v2_x0_5": (24, 48, 96, 1024),
    "resnet18": (64, 128, 256, 512),
}


def images() -> Tensor:
    return torch.randn(2, 3, 64, 160)


@pytest.mark.parametrize("name", CHAINS)
def test_a_network_of_torchvision_gives_a_map_of_each_stride(name: str) -> None:
    backbone = build_backbone(BackboneConfig(f"torchvision:{name}", weights="none")).eval()
    with torch.no_grad():
        maps = backbone(images())
    assert backbone.strides == (4, 8, 16, 32)
    assert [m.shape for m in maps] == [
        (2, c, 64 // s, 160 // s) for c, s in zip(backbone.channels, backbone.strides, strict=True)
    ]
    assert not [m for m in backbone.modules() if isinstance(m, nn.BatchNorm2d)]


@pytest.mark.parametrize("name", ["mobilenet_v3_small", "efficientnet_b0", "densenet121"])
def test_the_maps_are_what_the_network_itself_computes(name: str, tmp_path: object) -> None:
    torch.manual_seed(0)
    network = random_norms(get_model(name, weights=None)).eval()
    path = f"{tmp_path}/weights.pth"
    torch.save(network.state_dict(), path)
    backbone = build_backbone(BackboneConfig(f"torchvision:{name}", weights=path)).eval()
    seen: list[Tensor] = []
    features = network.get_submodule("features")
    features.register_forward_hook(lambda _module, _input, output: seen.append(output.clone()))
    given = images()
    with torch.no_grad():
        network(given)
        last = backbone(given)[-1]
    torch.testing.assert_close(last, seen[0], rtol=1e-3, atol=1e-4 * float(seen[0].abs().max()))


def test_norms_are_folded_where_a_convolution_comes_before_them_and_frozen_elsewhere() -> None:
    folded = build_backbone(BackboneConfig("torchvision:mobilenet_v3_small", weights="none"))
    assert [m for m in folded.modules() if isinstance(m, FrozenNormConv2d)]
    assert not [m for m in folded.modules() if isinstance(m, FrozenNorm)]
    before = build_backbone(BackboneConfig("torchvision:densenet121", weights="none"))
    assert [m for m in before.modules() if isinstance(m, FrozenNorm)]


def test_taps_may_be_given() -> None:
    config = BackboneConfig(
        "torchvision:mobilenet_v3_large", weights="none", taps=("features.13", "features.16")
    )
    backbone = build_backbone(config).eval()
    assert backbone.strides[-2:] == (32, 32)
    backbone.take((32, 32))
    with torch.no_grad():
        assert [m.shape[1:] for m in backbone(images())] == [(160, 2, 5), (960, 2, 5)]
    with pytest.raises(UnfitNetwork, match="has no layer9; it has features.0, features.1"):
        build_backbone(BackboneConfig(config.name, weights="none", taps=("layer9",)))


@pytest.mark.parametrize("name", ["torchvision:vit_b_16", "torchvision:squeezenet1_0"])
def test_a_network_without_maps_at_strides_that_double_is_refused(name: str) -> None:
    with pytest.raises(UnfitNetwork, match="expected a backbone with maps at strides that double"):
        build_backbone(BackboneConfig(name, weights="none"))


def test_an_unknown_name_is_refused_with_the_nearest_three() -> None:
    with pytest.raises(UnfitNetwork, match="such as resnet50, .*, .*, got resnt50"):
        build_backbone(BackboneConfig("torchvision:resnt50", weights="none"))
    with pytest.raises(ValueError, match="expected a backbone of resnet50, .* got resnt50"):
        BackboneConfig("resnt50")


def test_strides_that_the_network_has_not_are_refused() -> None:
    backbone = build_backbone(BackboneConfig("torchvision:resnet18", weights="none"))
    with pytest.raises(UnfitNetwork, match="maps of strides .32, 32., got .4, 8, 16, 32."):
        backbone.take((32, 32))


def test_pixels_are_what_the_weights_expect_and_stand_in_the_configuration() -> None:
    config = DetectorConfig(backbone=BackboneConfig("torchvision:efficientnet_b0", weights="none"))
    pixels = with_pixels(config).pixels
    assert (pixels.mean, pixels.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    own = DetectorConfig(pixels=PixelConfig(mean=(0.5, 0.5, 0.5)))
    assert with_pixels(own).pixels.mean == (0.5, 0.5, 0.5)
    assert with_pixels(own).pixels.std == (0.229, 0.224, 0.225)


def test_a_dilated_last_stage_keeps_the_stride_before_it() -> None:
    backbone = build_backbone(BackboneConfig("resnet50", weights="none", dilated=True)).eval()
    with torch.no_grad():
        maps = backbone(images())
    assert backbone.strides == (4, 8, 16, 16)
    assert maps[-1].shape == (2, 2048, 4, 10)


def test_nobody_hosts_the_weights_of_one_name() -> None:
    with pytest.raises(WeightsError, match="nobody hosts them"):
        build_backbone(BackboneConfig("resnext101_32x4d"))


def test_networks_of_timm_give_their_own_maps() -> None:
    pytest.importorskip("timm")
    backbone = BackboneConfig("timm:mobilenetv3_small_050", weights="none")
    config = DetectorConfig(backbone=backbone, pyramid=PyramidConfig(channels=8))
    detector = Detector(config, ("cat",)).eval()
    with torch.no_grad():
        maps = detector.backbone(images())
    assert [m.shape[2:] for m in maps] == [(16, 40), (8, 20), (4, 10), (2, 5)]
    assert not [m for m in detector.modules() if isinstance(m, nn.BatchNorm2d)]
    with pytest.raises(UnfitNetwork, match="expected a backbone that takes frames of any size"):
        build_backbone(BackboneConfig("timm:vit_tiny_patch16_224", weights="none"))
