import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import roi_align

from model.config.detector import RoiConfig
from model.network.pooling import POOLED_LEVELS, assign_levels, pool_regions
from model.network.rpn import RpnHead
from model.training.cell_table import align_regions, neighbourhoods, pooled_regions, table_of
from tests.model.small import random_boxes

HEIGHT, WIDTH = 256, 448
IMAGES = 2


def maps() -> tuple[Tensor, ...]:
    """Five maps of unequal sides, as a pyramid has them."""
    generator = torch.Generator().manual_seed(0)
    sizes = [(-(-HEIGHT // stride), -(-WIDTH // stride)) for stride in (4, 8, 16, 32, 64)]
    drawn = [torch.randn((IMAGES, 5, *size), generator=generator) for size in sizes]
    return tuple(features.requires_grad_() for features in drawn)


def regions() -> tuple[Tensor, Tensor]:
    """Boxes for every level, within the frame and across its border, and the image of each."""
    small, large = random_boxes(30, (60, 90), 0, 4), random_boxes(30, (HEIGHT, WIDTH), 1, 60)
    across = random_boxes(20, (HEIGHT, WIDTH), 2, 30) + torch.tensor([60.0, 50, 60, 50])
    odd = torch.tensor(
        [
            [0.0, 0, WIDTH, HEIGHT],
            [0, 0, 448, 448],
            [-40, -30, 50, 20],
            [9, 7, 9, 7],
            [900, 9, 990, 90],
        ]
    )
    boxes = torch.cat([small, large, across, odd])
    return boxes, torch.arange(len(boxes)) % IMAGES


def gradients(output: Tensor, inputs: tuple[Tensor, ...]) -> list[Tensor]:
    """Of the sum of `output`, each value weighted by its own random number."""
    weights = torch.randn(output.shape, generator=torch.Generator().manual_seed(9))
    return list(torch.autograd.grad((output * weights).sum(), inputs))


@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("samples", [1, 2, 3])
def test_regions_and_their_gradient_are_those_of_roi_align(aligned: bool, samples: int) -> None:
    config = RoiConfig(resolution=3, aligned=aligned, sampling_ratio=samples)
    pyramid, (boxes, images) = maps(), regions()
    expected = pool_regions(pyramid, boxes, images, config)
    got = align_regions(table_of(pyramid), boxes, images, config)
    torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-4)
    for ours, theirs in zip(
        gradients(got, pyramid[:4]), gradients(expected, pyramid[:4]), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)
        assert theirs.any()


@pytest.mark.parametrize("aligned", [False, True])
def test_regions_with_a_sample_for_each_cell_begun_are_those_of_roi_align(aligned: bool) -> None:
    config, pyramid = RoiConfig(resolution=3, aligned=aligned, sampling_ratio=0), maps()
    boxes, images = regions()
    level = assign_levels(boxes, config)
    rows = torch.cat([images[:, None].float(), boxes], dim=1)
    got = pooled_regions(pyramid, table_of(pyramid), boxes, images, config)
    ours = gradients(got, pyramid[:4])
    weights = torch.randn(got.shape, generator=torch.Generator().manual_seed(9))
    for k, features, gradient in zip(POOLED_LEVELS, pyramid, ours, strict=False):
        of_level = level == k
        expected = roi_align(features, rows[of_level], 3, 0.5**k, 0, aligned)
        torch.testing.assert_close(got[of_level], expected)
        [theirs] = torch.autograd.grad((expected * weights[of_level]).sum(), features)
        torch.testing.assert_close(gradient, theirs, rtol=1e-4, atol=1e-5)
        assert theirs.any()


def test_regions_of_a_single_map_are_read_from_it() -> None:
    config, levels = RoiConfig(resolution=3), (4,)
    [_, _, c4, *_], (boxes, images) = maps(), regions()
    expected = pool_regions((c4,), boxes, images, config, levels)
    got = align_regions(table_of((c4,)), boxes, images, config, levels)
    torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-4)


def test_no_regions_are_read_as_nothing() -> None:
    cells = table_of(maps())
    pooled = align_regions(cells, torch.zeros(0, 4), torch.zeros(0).long(), RoiConfig(resolution=3))
    assert pooled.shape == (0, 5, 3, 3)


def every_cell(pyramid: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
    """The image and the place of all cells of all images."""
    count = sum(features.shape[2] * features.shape[3] for features in pyramid)
    images = torch.arange(IMAGES).repeat_interleave(count)
    return images, torch.arange(count).repeat(IMAGES)


def test_a_neighbourhood_is_what_a_3x3_convolution_sees() -> None:
    pyramid = maps()
    seen = neighbourhoods(table_of(pyramid), *every_cell(pyramid)).reshape(IMAGES, -1, 9, 5)
    # (N, d*9, H*W) -> (N, d, 9, H*W) -> (N, H*W, 9, d)
    unfolded = [
        F.unfold(features, 3, padding=1).reshape(IMAGES, 5, 9, -1).permute(0, 3, 2, 1)
        for features in pyramid
    ]
    assert torch.equal(seen, torch.cat(unfolded, dim=1))


def test_predictions_for_some_anchors_are_those_for_all() -> None:
    torch.manual_seed(0)
    head, pyramid = RpnHead(5, 6, 3), maps()
    images, places = (each[::7] for each in every_cell(pyramid))
    shapes = torch.arange(len(places)) % 3
    got = head.at(neighbourhoods(table_of(pyramid), images, places), shapes)
    levels = head(pyramid)
    logits = torch.cat([level.logits for level in levels], dim=1)[images, places * 3 + shapes]
    deltas = torch.cat([level.deltas for level in levels], dim=1)[images, places * 3 + shapes]
    inputs = (*pyramid, *head.parameters())
    for ours, theirs in ((got.logits, logits), (got.deltas, deltas)):
        torch.testing.assert_close(ours, theirs)
        pairs = zip(
            torch.autograd.grad(ours.square().sum(), inputs, retain_graph=True, allow_unused=True),
            torch.autograd.grad(
                theirs.square().sum(), inputs, retain_graph=True, allow_unused=True
            ),
            strict=True,
        )
        for one, other in pairs:
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_half_precision_maps_are_read_in_float32() -> None:
    halved = tuple(features.detach().bfloat16() for features in maps())
    boxes, images = regions()
    got = align_regions(table_of(halved), boxes, images, RoiConfig(resolution=3))
    exact = table_of(tuple(each.float() for each in halved))
    assert torch.equal(got, align_regions(exact, boxes, images, RoiConfig(resolution=3)))
