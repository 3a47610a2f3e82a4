from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torchvision.ops import roi_align, roi_pool

from model.config.detector import RoiConfig
from model.network.pooling import assign_levels, pool_regions
from tests.model.small import STRIDES, random_boxes

HEIGHT, WIDTH = 256, 448

CONFIG = RoiConfig(resolution=3, fc_channels=16)


def random_pyramid() -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    sizes = [(-(-HEIGHT // stride), -(-WIDTH // stride)) for stride in STRIDES]
    return tuple(torch.randn((2, 5, *size), generator=generator) for size in sizes)


def regions() -> tuple[Tensor, Tensor]:
    """Boxes for every level, and the image of each."""
    small, large = random_boxes(30, (60, 90), 0, 4), random_boxes(30, (HEIGHT, WIDTH), 1, 60)
    whole = torch.tensor([[0.0, 0, WIDTH, HEIGHT], [0.0, 0, 448, 448]])
    boxes = torch.cat([small, large, whole])
    return boxes, torch.arange(len(boxes)) % 2


@pytest.mark.parametrize(("side", "level"), [(112, 3), (224, 4), (448, 5)])
def test_a_box_of_exactly_a_canonical_side_keeps_its_level_wherever_it_is(
    side: int, level: int
) -> None:
    corner = torch.rand((200_000, 2), generator=torch.Generator().manual_seed(side)) * 1333
    boxes = torch.cat([corner, corner + side], dim=1)
    inexact = (boxes[:, 2:] - boxes[:, :2]) < side
    assert inexact.any()  # float32 leaves some of them a hair too small
    assert (assign_levels(boxes, CONFIG) == level).all()


@pytest.mark.parametrize(
    ("width", "height", "level"),
    [
        (111.9, 111.9, 2),
        (223, 224, 3),
        (447, 447, 4),
        (448, 112, 4),  # sqrt(w h) = 224: a long box goes by its area
        (56, 224, 3),
        (900, 1300, 5),  # 6 by equation 1: held to P5
        (4, 9, 2),  # -2: held to P2
        (0, 50, 2),
    ],
)
def test_levels_by_hand(width: float, height: float, level: int) -> None:
    box = torch.tensor([10.0, 20.0, 10 + width, 20 + height])
    assert assign_levels(box, CONFIG).item() == level


def test_levels_are_whole_numbers_in_the_boxes_shape() -> None:
    levels = assign_levels(random_boxes(6, (600, 900), 0).reshape(2, 3, 4), CONFIG)
    assert levels.shape == (2, 3)
    assert levels.dtype == torch.int64


@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("samples", [1, 2])
def test_each_region_is_pooled_from_the_level_of_equation_1(aligned: bool, samples: int) -> None:
    config = RoiConfig(resolution=3, aligned=aligned, sampling_ratio=samples)
    pyramid, (boxes, images) = random_pyramid(), regions()
    levels = assign_levels(boxes, config)
    assert set(levels.tolist()) == {2, 3, 4, 5}
    pooled = pool_regions(pyramid, boxes, images, config)
    for box, image, level, got in zip(boxes, images.tolist(), levels.tolist(), pooled, strict=True):
        maps, scale = pyramid[level - 2][image : image + 1], 1 / STRIDES[level - 2]
        expected = roi_align(maps, [box[None]], 3, scale, samples, aligned)[0]
        torch.testing.assert_close(got, expected)


def test_a_constant_map_pools_to_that_constant() -> None:
    pyramid = tuple(torch.full((1, 2, 64 // s, 96 // s), float(s)) for s in STRIDES)
    pooled = pool_regions(pyramid, random_boxes(9, (64, 96), 0), torch.zeros(9).long(), CONFIG)
    assert pooled.shape == (9, 2, 3, 3)
    torch.testing.assert_close(pooled, torch.full_like(pooled, 4.0))  # all on P2


def test_p6_is_never_pooled() -> None:
    pyramid, (boxes, images) = random_pyramid(), regions()
    poisoned = (*pyramid[:4], torch.full_like(pyramid[4], float("nan")))
    expected = pool_regions(pyramid, boxes, images, CONFIG)
    assert torch.equal(pool_regions(poisoned, boxes, images, CONFIG), expected)
    assert torch.equal(pool_regions(pyramid[:4], boxes, images, CONFIG), expected)


def test_every_level_that_a_region_is_pooled_from_gets_its_gradient() -> None:
    pyramid = tuple(features.requires_grad_() for features in random_pyramid())
    torch.autograd.backward(pool_regions(pyramid, *regions(), CONFIG).square().sum())
    reached = [bool(p.grad.any()) if p.grad is not None else False for p in pyramid]
    assert reached == [True, True, True, True, False]


def test_no_regions_pool_to_nothing() -> None:
    pooled = pool_regions(random_pyramid(), torch.zeros(0, 4), torch.zeros(0).long(), CONFIG)
    assert pooled.shape == (0, 5, 3, 3)


def test_maps_of_half_precision_are_pooled_in_float32() -> None:
    pyramid, (boxes, images) = random_pyramid(), regions()
    halved = tuple(features.bfloat16() for features in pyramid)
    pooled = pool_regions(halved, boxes, images, CONFIG)
    expected = pool_regions(tuple(each.float() for each in halved), boxes, images, CONFIG)
    assert torch.equal(pooled, expected)


def test_with_a_single_level_every_box_is_pooled_from_it() -> None:
    boxes, images = regions()
    map_of_c4 = random_pyramid()[2]
    assert (assign_levels(boxes, CONFIG, (4,)) == 4).all()
    pooled = pool_regions((map_of_c4,), boxes, images, CONFIG, (4,))
    rois = torch.cat([images[:, None].float(), boxes], dim=1)
    expected = roi_align(map_of_c4, rois, 3, 1 / 16, CONFIG.sampling_ratio, CONFIG.aligned)
    torch.testing.assert_close(pooled, expected)


def test_roi_pool_takes_the_place_of_roi_align_on_the_same_levels() -> None:
    pyramid, (boxes, images) = random_pyramid(), regions()
    pooled = pool_regions(pyramid, boxes, images, replace(CONFIG, pooling="pool"))
    for place, level in enumerate(assign_levels(boxes, CONFIG).tolist()):
        roi = torch.cat([images[place : place + 1].float(), boxes[place]])[None]
        [expected] = roi_pool(pyramid[level - 2], roi, 3, 2.0**-level)
        assert torch.equal(pooled[place], expected)
