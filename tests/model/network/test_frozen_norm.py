from collections.abc import Callable

import pytest
import torch
from torch import nn
from torchvision.ops import FrozenBatchNorm2d

from model.network.frozen_norm import FrozenNormConv2d, fold_frozen_norms
from tests.model.network.networks import random_norms


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


def test_a_thinned_out_convolution_is_the_strided_one() -> None:
    torch.manual_seed(0)
    convolution = nn.Conv2d(6, 6, 3, stride=2, padding=1, groups=6, bias=False)
    layer = FrozenNormConv2d(convolution, nn.BatchNorm2d(6).eval())
    images = torch.randn(2, 6, 14, 20)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        strided, thinned = layer(images), layer(images.requires_grad_())
    assert "AvgPool" in type(thinned.grad_fn).__name__
    torch.testing.assert_close(thinned, strided)
