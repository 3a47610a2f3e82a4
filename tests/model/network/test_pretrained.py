import io
import urllib.request
from collections.abc import Iterator
from email.message import Message
from pathlib import Path
from urllib.response import addinfourl

import pytest
import torch
from torchvision import models as networks

from model.config.detector import BackboneConfig
from model.network.backbone import build_backbone
from model.network.pretrained import WeightsError

HUB_FILE = "mobilenet_v2-b0353104.pth"


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
