import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision import ops

from model.network.boxes import at_least, box_area, box_iou, clip_boxes, decode_boxes, encode_boxes
from tests.model.small import random_boxes

UNIT = (1.0, 1.0, 1.0, 1.0)
WEIGHTS = (10.0, 10.0, 5.0, 5.0)

corner = st.floats(-500, 1500, width=32)
side = st.floats(16, 800, width=32)  # one is at most 50 times another: below the cap of 62.5
boxes = st.builds(lambda x, y, w, h: [x, y, x + w, y + h], corner, corner, side, side)


def test_the_area_of_a_box_is_its_width_times_its_height() -> None:
    assert box_area(torch.tensor([[[1.0, 2, 4, 12]], [[5.0, 5, 5, 9]]])).tolist() == [[30.0], [0.0]]


def test_overlaps_by_hand() -> None:
    ours = torch.tensor([[0.0, 0, 10, 20], [5.0, 5, 5, 5]])
    theirs = torch.tensor([[0.0, 0, 10, 20], [5.0, 10, 15, 30], [10.0, 0, 20, 20], [5.0, 5, 5, 5]])
    # second: 5 x 10 shared of 200 + 200 - 50; third: touching only
    assert torch.equal(box_iou(ours, theirs)[0], torch.tensor([1.0, 50 / 350, 0.0, 0.0]))
    assert torch.equal(box_iou(ours, theirs)[1], torch.zeros(4))


def test_overlaps_are_torchvisions() -> None:
    ours, theirs = random_boxes(60, (300, 500), 0), random_boxes(40, (300, 500), 1)
    torch.testing.assert_close(box_iou(ours, theirs), ops.box_iou(ours, theirs))


def test_overlaps_with_nothing_have_no_columns() -> None:
    assert box_iou(random_boxes(3, (20, 30), 0), torch.zeros(0, 4)).shape == (3, 0)


def test_boxes_are_clipped_to_the_height_and_width_of_their_own_image() -> None:
    far = torch.tensor([[-5.0, -6, 999, 999], [30.0, 10, 45, 12]])
    clipped = clip_boxes(torch.stack([far, far]), torch.tensor([[20, 40], [50, 35]]))
    assert clipped[0].tolist() == [[0, 0, 40, 20], [30, 10, 40, 12]]
    assert clipped[1].tolist() == [[0, 0, 35, 50], [30, 10, 35, 12]]


def test_a_box_is_at_least_a_size_when_both_its_sides_are() -> None:
    each = torch.tensor([[0.0, 0, 2, 3], [0.0, 0, 1.9, 3], [0.0, 0, 3, 1.9]])
    assert at_least(each, 2.0).tolist() == [True, False, False]


def test_deltas_by_hand() -> None:
    reference, target = torch.tensor([0.0, 0, 10, 20]), torch.tensor([5.0, 0, 25, 10])
    # centre (5, 10) -> (15, 5): one width right, a quarter height up; width doubled, height halved
    expected = torch.tensor([1.0, -0.25, math.log(2), -math.log(2)])
    torch.testing.assert_close(encode_boxes(reference, target, UNIT), expected)
    weighted = expected * torch.tensor(WEIGHTS)
    torch.testing.assert_close(encode_boxes(reference, target, WEIGHTS), weighted)


@given(boxes, boxes)
def test_decoding_undoes_encoding(reference: list[float], target: list[float]) -> None:
    # in float64: the arithmetic is what is tried, and far centres cost float32 its last digits
    ours = torch.tensor([reference], dtype=torch.float64)
    theirs = torch.tensor([target], dtype=torch.float64)
    back = decode_boxes(ours, encode_boxes(ours, theirs, WEIGHTS), WEIGHTS)
    torch.testing.assert_close(back, theirs, atol=1e-3, rtol=1e-5)


def test_decoding_float32_boxes_undoes_encoding_to_a_hundredth_of_a_pixel() -> None:
    ours, theirs = random_boxes(500, (800, 1333), 0, 16), random_boxes(500, (800, 1333), 1, 16)
    back = decode_boxes(ours, encode_boxes(ours, theirs, UNIT), UNIT)
    torch.testing.assert_close(back, theirs, atol=1e-2, rtol=0)


def test_growth_is_capped_and_shrinking_is_not() -> None:
    reference = torch.tensor([0.0, 0, 16, 32])
    grown = decode_boxes(reference, torch.tensor([0.0, 0, 50, 50]), UNIT)
    assert (grown[2:] - grown[:2]).tolist() == pytest.approx([1000, 2000], rel=1e-5)
    shrunk = decode_boxes(reference, torch.tensor([0.0, 0, -8, -9]), UNIT)
    expected = [16 * math.exp(-8), 32 * math.exp(-9)]
    assert (shrunk[2:] - shrunk[:2]).tolist() == pytest.approx(expected, abs=1e-5)


def test_decoding_is_the_same_whatever_leads_the_four() -> None:
    ours, deltas = random_boxes(24, (60, 90), 0), torch.randn(24, 4)
    shaped = decode_boxes(ours.reshape(2, 3, 4, 4), deltas.reshape(2, 3, 4, 4), WEIGHTS)
    assert torch.equal(shaped.reshape(24, 4), decode_boxes(ours, deltas, WEIGHTS))
