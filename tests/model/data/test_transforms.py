import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import nn

from model.config.resize import ResizeRule, Size
from model.data.transforms import (
    flip_horizontal,
    frame_image,
    image_tensor,
    letterbox,
    resize_image,
    scale_boxes,
    stretch,
)
from tests.model.conftest import noise

sides = st.integers(1, 5000)
sizes = st.tuples(sides, sides)


@st.composite
def boxes_in(draw: st.DrawFn, size: Size) -> torch.Tensor:
    height, width = size
    xs = sorted(draw(st.tuples(st.floats(0, width, width=32), st.floats(0, width, width=32))))
    ys = sorted(draw(st.tuples(st.floats(0, height, width=32), st.floats(0, height, width=32))))
    return torch.tensor([[xs[0], ys[0], xs[1], ys[1]]])


def test_resizing_is_pillows_bilinear_and_takes_height_first() -> None:
    image = noise((30, 45))
    resized = stretch(image, (20, 60))
    assert (resized.height, resized.width) == (20, 60)
    expected = image.resize((60, 20), Image.Resampling.BILINEAR)
    assert np.array_equal(np.asarray(resized), np.asarray(expected))


def test_an_image_is_resized_and_framed_as_the_rule_says() -> None:
    image, rule = noise((50, 75)), ResizeRule(64, 112, "floor", "bilinear")
    pixels, size = frame_image(image, (50, 75), rule)
    assert (size, pixels.shape) == ((64, 96), (3, 64, 96))
    assert torch.equal(pixels, image_tensor(stretch(image, (64, 96), "bilinear")))
    small = resize_image(image, (50, 75), rule.at_short_side(40))
    assert (small.height, small.width) == (40, 60)


def test_a_letterboxed_image_lies_top_left_and_the_rest_is_zero() -> None:
    image = noise((20, 45))
    frame = letterbox(image, (32, 64))
    assert frame.shape == (3, 32, 64)
    assert frame.dtype == torch.uint8
    assert np.array_equal(frame[:, :20, :45].permute(1, 2, 0).numpy(), np.asarray(image))
    assert not frame[:, 20:, :].any()
    assert not frame[:, :, 45:].any()


def test_an_image_that_is_larger_than_its_frame_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(20, 45\) does not fit into a frame of \(64, 32\)"):
        letterbox(noise((20, 45)), (64, 32))


def test_an_image_that_is_not_rgb_is_refused() -> None:
    with pytest.raises(ValueError, match="expected an RGB image, got mode L"):
        image_tensor(noise((4, 6)).convert("L"))


@given(data=st.data(), size=sizes, new_size=sizes)
def test_scaled_boxes_stay_inside_and_scale_back(
    data: st.DataObject, size: Size, new_size: Size
) -> None:
    boxes = data.draw(boxes_in(size))
    scaled = scale_boxes(boxes, size, new_size)
    limits = torch.tensor([new_size[1], new_size[0]] * 2)
    assert (scaled >= 0).all()
    assert (scaled <= limits).all()
    torch.testing.assert_close(scale_boxes(scaled, new_size, size), boxes, rtol=1e-5, atol=1e-5)


@given(size=sizes, new_size=sizes)
def test_a_box_of_the_whole_image_stays_that(size: Size, new_size: Size) -> None:
    whole = torch.tensor([[0.0, 0.0, size[1], size[0]]])
    assert scale_boxes(whole, size, new_size).tolist() == [[0, 0, new_size[1], new_size[0]]]


def test_each_axis_scales_by_its_own_ratio() -> None:
    boxes = torch.tensor([[1.0, 2.0, 3.0, 4.0]])
    assert scale_boxes(boxes, (10, 20), (30, 40)).tolist() == [[2.0, 6.0, 6.0, 12.0]]


def test_a_mirrored_box_lies_around_the_same_pixels() -> None:
    pixels = np.zeros((20, 50, 3), dtype=np.uint8)
    pixels[3:9, 5:25] = 255
    image, boxes = flip_horizontal(Image.fromarray(pixels), torch.tensor([[5.0, 3.0, 25.0, 9.0]]))
    x1, y1, x2, y2 = (int(side) for side in boxes[0])
    mirrored = np.asarray(image)
    assert mirrored[y1:y2, x1:x2].all()
    assert mirrored.sum() == pixels.sum() == mirrored[y1:y2, x1:x2].sum()


@given(data=st.data())
def test_mirroring_twice_changes_nothing(data: st.DataObject) -> None:
    image, boxes = noise((6, 10)), data.draw(boxes_in((6, 10)))
    twice, twice_boxes = flip_horizontal(*flip_horizontal(image, boxes))
    assert np.array_equal(np.asarray(twice), np.asarray(image))
    torch.testing.assert_close(twice_boxes, boxes, rtol=0, atol=1e-6)


def test_an_image_without_boxes_is_mirrored_too() -> None:
    _, boxes = flip_horizontal(noise((6, 10)), torch.zeros((0, 4)))
    assert boxes.shape == (0, 4)


@pytest.mark.parametrize("new_size", [(60, 33), (17, 90), (9, 5), (23, 41)])
def test_plain_interpolation_is_torchs_rounded_to_bytes(new_size: Size) -> None:
    image = noise((23, 41))
    floats = image_tensor(image)[None].float()
    expected = nn.functional.interpolate(floats, new_size, mode="bilinear", align_corners=False)
    got = image_tensor(stretch(image, new_size, "bilinear")).float()
    assert (got - expected[0]).abs().max() < 0.501
