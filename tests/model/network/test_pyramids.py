from itertools import pairwise
from typing import Literal, get_args

import pytest
import torch
from torch import Tensor

from model.config.detector import PyramidConfig, PyramidKind
from model.network.fpn import FeaturePyramid
from model.network.pyramids import BottomUpPyramid, FinestMap, NoLateralPyramid, build_pyramid

CHANNELS = (3, 4, 5, 6)
STRIDES = (4, 8, 16, 32)
LEVELS = (2, 3, 4, 5, 6)
SEVEN = PyramidConfig(channels=7)
KINDS: tuple[PyramidKind, ...] = get_args(PyramidKind)
ALL_LEVELS = [(kind, level) for kind in ("fpn", "bottom_up", "no_lateral") for level in LEVELS]


def bottom_up_maps(height: int = 64, width: int = 96) -> tuple[Tensor, ...]:
    """C2..C5, each of which asks for its gradient."""
    generator = torch.Generator().manual_seed(0)
    sizes = [(c, height // s, width // s) for c, s in zip(CHANNELS, STRIDES, strict=True)]
    return tuple(torch.randn((2, *s), generator=generator).requires_grad_() for s in sizes)


def seen_by(kind: PyramidKind, level: int) -> list[int]:
    """The numbers of the C_k that level `level` of such a pyramid depends on."""
    torch.manual_seed(0)
    maps = bottom_up_maps()
    pyramid = build_pyramid(PyramidConfig(kind=kind, channels=7), CHANNELS, STRIDES)
    features = pyramid(maps)[pyramid.levels.index(level)]
    gradients = torch.autograd.grad(features.square().sum(), maps, allow_unused=True)
    return [k for k, gradient in enumerate(gradients, start=2) if gradient is not None]


@pytest.mark.parametrize("kind", KINDS)
def test_features_have_the_levels_channels_and_strides_that_they_say(kind: PyramidKind) -> None:
    maps = bottom_up_maps()[: 3 if kind == "c4" else 4]
    pyramid = build_pyramid(
        PyramidConfig(kind=kind, channels=7), CHANNELS[: len(maps)], STRIDES[: len(maps)]
    )
    expected = [(2, pyramid.channels, -(-64 // 2**k), -(-96 // 2**k)) for k in pyramid.levels]
    assert [tuple(features.shape) for features in pyramid(maps)] == expected


@pytest.mark.parametrize(("kind", "level"), ALL_LEVELS)
def test_each_level_sees_the_stages_that_its_row_of_table_1_grants(
    kind: PyramidKind, level: int
) -> None:
    own = min(level, 5)
    expected = {"fpn": list(range(own, 6)), "bottom_up": [own], "no_lateral": [5]}
    assert seen_by(kind, level) == expected[kind]


def test_the_finest_map_is_p2_of_the_same_pyramid() -> None:
    torch.manual_seed(0)
    pyramid, finest = FeaturePyramid(CHANNELS, SEVEN), FinestMap(CHANNELS, SEVEN)
    finest.laterals.load_state_dict(pyramid.laterals.state_dict())
    finest.output.load_state_dict(pyramid.outputs[0].state_dict())
    [p2] = finest(bottom_up_maps())
    torch.testing.assert_close(p2, pyramid(bottom_up_maps())[0])


def test_without_lateral_connections_the_maps_are_c5_doubled_before_their_convolutions() -> None:
    pyramid, maps = NoLateralPyramid(CHANNELS, SEVEN), bottom_up_maps()
    features = pyramid(maps)
    for place, step in enumerate((8, 4, 2, 1)):
        top = pyramid.top(maps[3]).repeat_interleave(step, 2).repeat_interleave(step, 3)
        torch.testing.assert_close(features[place], pyramid.outputs[place](top))


def test_a_bottom_up_lateral_is_one_by_one_and_followed_by_three_by_three() -> None:
    pyramid, maps = BottomUpPyramid(CHANNELS, SEVEN), bottom_up_maps()
    for place, features in enumerate(pyramid(maps)[:4]):
        lateral, output = pyramid.laterals[place], pyramid.outputs[place]
        torch.testing.assert_close(features, output(lateral(maps[place])))
        assert lateral.get_parameter("weight").shape[2:] == (1, 1)
        assert output.get_parameter("weight").shape[2:] == (3, 3)


@pytest.mark.parametrize("kind", ["c4", "c5"])
def test_a_single_map_of_the_backbone_is_passed_on_untouched(kind: PyramidKind) -> None:
    maps = bottom_up_maps()[: int(kind[1]) - 1]
    pyramid = build_pyramid(PyramidConfig(kind=kind), CHANNELS[: len(maps)], STRIDES[: len(maps)])
    [features] = pyramid(maps)
    assert features is maps[-1]
    assert not list(pyramid.parameters())


def test_levels_are_counted_from_the_finest() -> None:
    for kind in KINDS:
        levels = build_pyramid(PyramidConfig(kind=kind), CHANNELS, STRIDES).levels
        assert all(finer < coarser for finer, coarser in pairwise(levels))


def maps_of(strides: tuple[int, ...]) -> tuple[Tensor, ...]:
    return tuple(torch.randn(2, 3, 64 // stride, 96 // stride) for stride in strides)


@pytest.mark.parametrize(
    ("strides", "top", "count", "levels"),
    [
        ((8, 16, 32), "convolution", 2, (3, 4, 5, 6, 7)),
        ((8, 16, 32), "pool", 2, (3, 4, 5, 6, 7)),
        ((4, 8, 16), "none", 1, (2, 3, 4)),
        ((32, 32), "pool", 1, (5, 5, 6)),
        ((16,), "pool", 1, (4, 5)),
    ],
)
@pytest.mark.parametrize("kind", ["fpn", "bottom_up", "no_lateral"])
def test_levels_are_those_of_the_strides_that_are_taken_and_those_above(
    kind: PyramidKind,
    strides: tuple[int, ...],
    top: Literal["pool", "convolution", "none"],
    count: int,
    levels: tuple[int, ...],
) -> None:
    config = PyramidConfig(kind=kind, channels=7, strides=strides, top=top, top_levels=count)
    pyramid = build_pyramid(config, (3,) * len(strides), strides)
    assert pyramid.levels == config.levels == levels
    sizes = [tuple(features.shape) for features in pyramid(maps_of(strides))]
    assert sizes == [(2, 7, -(-64 // 2**k), -(-96 // 2**k)) for k in levels]


def test_two_maps_of_the_same_stride_are_added_as_they_are() -> None:
    config, maps = PyramidConfig(channels=7, strides=(32, 32)), maps_of((32, 32))
    pyramid = FeaturePyramid((3, 3), config)
    first, last = (lateral(c) for lateral, c in zip(pyramid.laterals, maps, strict=True))
    torch.testing.assert_close(pyramid(maps)[0], pyramid.outputs[0](first + last))


def test_a_frozen_norm_of_the_pyramid_scales_what_its_convolution_gives() -> None:
    pyramid = FeaturePyramid(
        (3,), PyramidConfig(channels=7, strides=(16,), top="none", norm="batch")
    )
    [lateral], [output] = pyramid.laterals, pyramid.outputs
    [maps] = maps_of((16,))
    [before] = pyramid((maps,))
    output.get_buffer("scale").mul_(3)
    output.get_buffer("shift").add_(2)
    torch.testing.assert_close(pyramid((maps,))[0], 3 * before + 2)
    assert "bias" not in dict(lateral.named_parameters())


def test_a_group_norm_of_the_pyramid_evens_out_each_map() -> None:
    config = PyramidConfig(channels=64, strides=(16,), top="none", norm="group")
    with torch.no_grad():
        [features] = FeaturePyramid((3,), config)((maps_of((16,))[0] * 100,))
    assert float(features.std()) == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("strides", [(4, 16), (8, 4), (4, 4, 8), (6, 12), (), (64,)])
def test_strides_that_do_not_double_are_refused(strides: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="strides"):
        PyramidConfig(strides=strides)
