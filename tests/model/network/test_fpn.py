import math

import pytest
import torch
from torch import Tensor, nn

from model.config.detector import PyramidConfig
from model.network.fpn import FeaturePyramid
from tests.model.small import STRIDES

CHANNELS = (3, 4, 5, 6)
LEVELS = (2, 3, 4, 5, 6)
HEIGHT, WIDTH = 32, 96  # C5 is 1 x 3


def bottom_up(seed: int = 0, height: int = HEIGHT, width: int = WIDTH) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    sizes = [(c, height // s, width // s) for c, s in zip(CHANNELS, STRIDES, strict=False)]
    return tuple(torch.randn((2, *size), generator=generator) for size in sizes)


@pytest.fixture
def fpn() -> FeaturePyramid:
    torch.manual_seed(0)
    pyramid = FeaturePyramid(CHANNELS, PyramidConfig(channels=7))
    for convolution in [*pyramid.laterals, *pyramid.outputs]:
        assert isinstance(convolution.bias, Tensor)
        nn.init.normal_(convolution.bias)
    return pyramid


def weights(module: nn.Module) -> tuple[Tensor, Tensor]:
    return module.get_parameter("weight"), module.get_parameter("bias")


def one_by_one(convolution: nn.Module, features: Tensor) -> Tensor:
    weight, bias = weights(convolution)
    return torch.einsum("dc,nchw->ndhw", weight[:, :, 0, 0], features) + bias[:, None, None]


def three_by_three(convolution: nn.Module, features: Tensor) -> Tensor:
    weight, bias = weights(convolution)
    _, _, height, width = features.shape
    padded = nn.functional.pad(features, (1, 1, 1, 1))
    shifted = [
        torch.einsum("dc,nchw->ndhw", weight[:, :, y, x], padded[..., y:, x:][..., :height, :width])
        for y in range(3)
        for x in range(3)
    ]
    return torch.stack(shifted).sum(dim=0) + bias[:, None, None]


def test_the_pyramid_is_figure_3_of_the_paper(fpn: FeaturePyramid) -> None:
    maps = bottom_up()
    merged = one_by_one(fpn.laterals[3], maps[3])
    expected = {5: three_by_three(fpn.outputs[3], merged)}
    for level in (4, 3, 2):
        doubled = merged.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
        merged = one_by_one(fpn.laterals[level - 2], maps[level - 2]) + doubled
        expected[level] = three_by_three(fpn.outputs[level - 2], merged)
    expected[6] = expected[5][:, :, ::2, ::2]
    for level, features in zip(LEVELS, fpn(maps), strict=True):
        torch.testing.assert_close(features, expected[level], atol=1e-4, rtol=1e-4)


def test_the_pyramid_is_linear_in_its_input_but_for_the_biases(fpn: FeaturePyramid) -> None:
    # P6 is left out of nothing: subsampling is linear as well
    one, other = bottom_up(1), bottom_up(2)
    mixed = tuple(2 * a - 3 * b for a, b in zip(one, other, strict=True))
    nothing = fpn(tuple(torch.zeros_like(each) for each in one))
    for at_one, at_other, at_mixed, at_zero in zip(
        fpn(one), fpn(other), fpn(mixed), nothing, strict=True
    ):
        expected = 2 * (at_one - at_zero) - 3 * (at_other - at_zero) + at_zero
        torch.testing.assert_close(at_mixed, expected, atol=1e-4, rtol=1e-4)


def test_an_output_convolution_is_not_fed_back(fpn: FeaturePyramid) -> None:
    before = fpn(bottom_up())
    with torch.no_grad():
        fpn.outputs[3].get_parameter("weight").mul_(5)
    after = fpn(bottom_up())
    assert [torch.equal(a, b) for a, b in zip(before, after, strict=True)] == [True] * 3 + [
        False
    ] * 2


@pytest.mark.parametrize(("rows", "columns"), [(1, 3), (2, 5), (4, 3), (5, 4)])
def test_p6_is_every_other_row_and_column_of_p5(
    fpn: FeaturePyramid, rows: int, columns: int
) -> None:
    *_, p5, p6 = fpn(bottom_up(height=32 * rows, width=32 * columns))
    assert torch.equal(p6, p5[:, :, ::2, ::2])
    assert p6.shape[2:] == (math.ceil(rows / 2), math.ceil(columns / 2))


def test_every_bottom_up_map_reaches_the_levels_at_and_below_it(fpn: FeaturePyramid) -> None:
    for place in range(4):
        maps = tuple(each.requires_grad_() for each in bottom_up())
        for level, features in zip(LEVELS, fpn(maps), strict=True):
            [gradient] = torch.autograd.grad(
                features.square().sum(), [maps[place]], allow_unused=True, retain_graph=True
            )
            assert (gradient is not None) == (place + 2 >= min(level, 5))


def test_convolutions_start_at_caffe2s_xavier_fill_without_bias() -> None:
    torch.manual_seed(0)
    pyramid = FeaturePyramid((40, 50, 60, 70), PyramidConfig(channels=64))
    for convolution in [*pyramid.laterals, *pyramid.outputs]:
        weight, bias = weights(convolution)
        bound = math.sqrt(3 / weight[0].numel())  # uniform of variance 1 / fan_in
        assert 0.98 * bound < weight.abs().max() <= bound
        assert not bias.any()
