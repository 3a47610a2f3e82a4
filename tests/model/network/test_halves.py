"""Large weights in float16."""

import pytest
import torch

from model.network.halves import SMALLEST, as_planes, from_planes, halved, with_halved_weights
from model.network.roi import RoiHead
from tests.detectors import small_detector


def test_only_large_tensors_of_float32_are_halved() -> None:
    large = torch.linspace(-3, 3, SMALLEST)
    assert halved(large).dtype == torch.float16
    for kept in (large[1:], large.double(), torch.arange(SMALLEST)):
        assert halved(kept) is kept


def test_what_float16_cannot_reach_stays_as_it_is() -> None:
    large = torch.full((SMALLEST,), 1e5)
    assert halved(large) is large


@pytest.mark.parametrize("shape", [(), (5,), (3, 4, 1), (0, 2)])
def test_planes_hold_every_bit_low_bytes_first(shape: tuple[int, ...]) -> None:
    half = torch.randn(shape, generator=torch.Generator().manual_seed(3)).half()
    planes = as_planes(half)
    assert (planes.dtype, planes.shape) == (torch.uint8, (2, *shape))
    assert torch.equal(from_planes(planes), half)
    assert as_planes(torch.tensor([1.0]).half()).tolist() == [[0x00], [0x3C]]


def test_a_detector_of_halved_weights_computes_in_float32_with_what_float16_keeps() -> None:
    detector = small_detector()
    rounded = with_halved_weights(detector)
    before, after = detector.rpn.conv.weight, rounded.rpn.conv.weight
    assert after.numel() < SMALLEST or torch.equal(after, before.half().float())
    assert isinstance(detector.roi, RoiHead)
    assert isinstance(rounded.roi, RoiHead)
    large, kept = detector.roi.fc1.weight, rounded.roi.fc1.weight
    assert kept.dtype == torch.float32
    assert torch.equal(kept, large.half().float())
    assert not torch.equal(kept, large)
    assert torch.equal(rounded.roi.fc1.bias, detector.roi.fc1.bias)
    twice = with_halved_weights(rounded).roi
    assert isinstance(twice, RoiHead)
    assert torch.equal(twice.fc1.weight, kept)
