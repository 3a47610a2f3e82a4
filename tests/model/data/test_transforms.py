import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import ExifTags, Image
from torch import nn

from model.config.resize import Rounding, Size, choose_bucket, default_buckets, resized_size
from model.data.pictures import UnreadableImage, read_image, read_size
from model.data.transforms import (
    flip_horizontal,
    image_tensor,
    letterbox,
    resize_image,
    scale_boxes,
)
from tests.model.conftest import noise

sides = st.integers(1, 5000)
sizes = st.tuples(sides, sides)

# How a camera that was held so stores the picture: what undoes each EXIF orientation.
STORED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@st.composite
def rules(draw: st.DrawFn) -> tuple[int, int]:
    short_side = draw(st.integers(1, 1000))
    return short_side, draw(st.integers(short_side, 2000))


@st.composite
def boxes_in(draw: st.DrawFn, size: Size) -> torch.Tensor:
    height, width = size
    xs = sorted(draw(st.tuples(st.floats(0, width, width=32), st.floats(0, width, width=32))))
    ys = sorted(draw(st.tuples(st.floats(0, height, width=32), st.floats(0, height, width=32))))
    return torch.tensor([[xs[0], ys[0], xs[1], ys[1]]])


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((480, 640), (320, 427)),
        ((640, 480), (427, 320)),
        ((300, 451), (320, 481)),
        ((100, 1000), (58, 576)),
        ((2000, 1), (576, 1)),
        ((320, 576), (320, 576)),
    ],
)
def test_the_shorter_side_is_fixed_until_the_longer_would_pass_its_limit(
    size: Size, expected: Size
) -> None:
    assert resized_size(size, 320, 576) == expected


def test_half_a_pixel_rounds_up() -> None:
    assert resized_size((2, 5), 5, 100) == (5, 13)  # 5 * 2.5 = 12.5, which Python rounds to 12


@given(size=sizes, rule=rules())
def test_a_resized_image_reaches_one_limit_and_passes_none(
    size: Size, rule: tuple[int, int]
) -> None:
    short_side, max_side = rule
    resized = resized_size(size, *rule)
    assert 1 <= min(resized) <= short_side
    assert max(resized) <= max_side
    assert min(resized) == short_side or max(resized) == max_side


@given(size=sizes, rule=rules())
def test_the_rule_treats_both_orientations_alike(size: Size, rule: tuple[int, int]) -> None:
    assert resized_size(size[::-1], *rule) == resized_size(size, *rule)[::-1]


def test_an_image_without_pixels_is_refused() -> None:
    with pytest.raises(ValueError, match=r"at least one pixel.*\(0, 5\)"):
        resized_size((0, 5), 320, 576)


@given(size=sizes, rule=rules())
def test_every_resized_image_has_a_default_bucket(size: Size, rule: tuple[int, int]) -> None:
    choose_bucket(resized_size(size, *rule), default_buckets(*rule))


@given(rule=rules(), stride=st.sampled_from([8, 32, 64]))
def test_default_buckets_hold_the_extremes_are_multiples_and_rise(
    rule: tuple[int, int], stride: int
) -> None:
    buckets = default_buckets(*rule, stride)
    for extreme in (rule, rule[::-1]):
        choose_bucket(extreme, buckets)
    assert all(height % stride == 0 and width % stride == 0 for height, width in buckets)
    assert {frame[::-1] for frame in buckets} == set(buckets)
    assert list(buckets) == sorted(set(buckets), key=lambda frame: (math.prod(frame), frame))


def test_default_buckets_are_what_cameras_make_and_the_longest() -> None:
    assert default_buckets(320, 576) == (
        (320, 320),
        (320, 448),
        (448, 320),
        (320, 512),
        (512, 320),
        (320, 576),
        (576, 320),
    )
    assert default_buckets(800, 1333)[1::2] == ((800, 1088), (800, 1248), (800, 1344))


def test_a_picture_a_pixel_off_three_by_two_has_its_bucket() -> None:
    assert choose_bucket(resized_size((300, 451), 320, 576), default_buckets(320, 576)) == (
        320,
        512,
    )


def test_buckets_of_a_rule_that_contradicts_itself_are_refused() -> None:
    with pytest.raises(ValueError, match="got 400 and 300"):
        default_buckets(400, 300)


def test_the_smallest_bucket_that_holds_an_image_is_chosen() -> None:
    buckets = ((640, 640), (320, 640), (320, 448))
    assert choose_bucket((320, 448), buckets) == (320, 448)
    assert choose_bucket((320, 449), buckets) == (320, 640)
    assert choose_bucket((321, 10), buckets) == (640, 640)


def test_of_equal_buckets_the_first_is_chosen() -> None:
    assert choose_bucket((64, 64), ((64, 128), (128, 64))) == (64, 128)
    assert choose_bucket((64, 64), ((128, 64), (64, 128))) == (128, 64)


def test_an_image_that_no_bucket_holds_is_refused_with_what_there_is() -> None:
    with pytest.raises(ValueError, match=r"\(65, 10\).*\[\(64, 128\)\]"):
        choose_bucket((65, 10), ((64, 128),))


def test_resizing_is_pillows_bilinear_and_takes_height_first() -> None:
    image = noise((30, 45))
    resized = resize_image(image, (20, 60))
    assert (resized.height, resized.width) == (20, 60)
    expected = image.resize((60, 20), Image.Resampling.BILINEAR)
    assert np.array_equal(np.asarray(resized), np.asarray(expected))


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


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_a_picture_is_read_upright_and_its_size_from_the_header(
    tmp_path: Path, orientation: int, suffix: str
) -> None:
    upright, method = noise((20, 45)), STORED[orientation]
    stored = upright if method is None else upright.transpose(method)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    path = tmp_path / f"picture.{suffix}"
    stored.save(path, exif=exif)
    assert read_size(path) == (20, 45)
    assert np.array_equal(np.asarray(read_image(path)), np.asarray(upright))


def test_a_header_gives_a_turned_jpegs_upright_size(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    noise((20, 45)).save(tmp_path / "a.jpg", exif=exif)
    upright = read_image(tmp_path / "a.jpg")
    assert read_size(tmp_path / "a.jpg") == (upright.height, upright.width) == (45, 20)


def test_transparency_is_laid_on_white(tmp_path: Path) -> None:
    pixels = np.full((4, 6, 4), (200, 10, 10, 255), dtype=np.uint8)
    pixels[:, 3:, 3] = 0
    Image.fromarray(pixels).save(tmp_path / "a.png")
    rgb = np.asarray(read_image(tmp_path / "a.png"))
    assert (rgb[:, :3] == (200, 10, 10)).all()
    assert (rgb[:, 3:] == 255).all()


def test_sixteen_bit_gray_keeps_its_range(tmp_path: Path) -> None:
    gray = np.linspace(0, 65535, 24).round().astype(np.uint16).reshape(4, 6)
    Image.fromarray(gray).save(tmp_path / "a.png")
    rgb = np.asarray(read_image(tmp_path / "a.png"))
    assert rgb.shape == (4, 6, 3)
    assert np.abs(rgb - gray[..., None] / 257).max() <= 0.5


def test_pixels_without_a_known_range_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((4, 6), dtype=np.float32)).save(tmp_path / "a.tiff")
    with pytest.raises(UnreadableImage, match=r"a\.tiff.*mode F"):
        read_image(tmp_path / "a.tiff")


def test_a_truncated_picture_has_a_size_and_no_pixels(tmp_path: Path) -> None:
    noise((60, 90)).save(tmp_path / "whole.jpg")
    path = tmp_path / "half.jpg"
    path.write_bytes((tmp_path / "whole.jpg").read_bytes()[:2000])
    assert read_size(path) == (60, 90)
    with pytest.raises(UnreadableImage, match=r"half\.jpg.*truncated"):
        read_image(path)


def test_a_file_that_is_no_picture_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_text("not a picture")
    with pytest.raises(UnreadableImage, match=r"a\.jpg"):
        read_size(tmp_path / "a.jpg")


@pytest.mark.parametrize(
    ("size", "rounding", "expected"),
    [
        ((480, 640), "round", (800, 1067)),  # Detectron2
        ((480, 640), "floor", (800, 1066)),  # torchvision
        (
            (161, 200),
            "floor",
            (799, 993),
        ),  # 161 * (800 / 161) is a hair below 800, in torchvision too
    ],
)
def test_sides_are_rounded_as_the_rule_says(size: Size, rounding: Rounding, expected: Size) -> None:
    assert resized_size(size, 800, 1333, rounding) == expected


@pytest.mark.parametrize("new_size", [(60, 33), (17, 90), (9, 5), (23, 41)])
def test_plain_interpolation_is_torchs_rounded_to_bytes(new_size: Size) -> None:
    image = noise((23, 41))
    floats = image_tensor(image)[None].float()
    expected = nn.functional.interpolate(floats, new_size, mode="bilinear", align_corners=False)
    got = image_tensor(resize_image(image, new_size, "bilinear")).float()
    assert (got - expected[0]).abs().max() < 0.501
