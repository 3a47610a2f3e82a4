import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.config.files import ConfigError, from_mapping, to_mapping
from model.config.resize import FRAME_STRIDE, ResizeRule, Rounding, Size, least_frame

sides = st.integers(1, 5000)
sizes = st.tuples(sides, sides)
SMALL = ResizeRule(320, 576)


@st.composite
def rules(draw: st.DrawFn) -> ResizeRule:
    short_side = draw(st.integers(1, 1000))
    rounding: Rounding = draw(st.sampled_from(("round", "floor")))
    return ResizeRule(short_side, draw(st.integers(short_side, 2000)), rounding)


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
    assert SMALL.content_size(size) == expected


def test_half_a_pixel_rounds_up() -> None:
    # 5 * 2.5 = 12.5, which Python rounds to 12
    assert ResizeRule(5, 100).content_size((2, 5)) == (5, 13)


@pytest.mark.parametrize(
    ("size", "rounding", "expected"),
    [
        # Detectron2's, then torchvision's
        ((480, 640), "round", (800, 1067)),
        ((480, 640), "floor", (800, 1066)),
        # 161 * (800 / 161) is a hair below 800, in torchvision too
        ((161, 200), "floor", (799, 993)),
    ],
)
def test_sides_are_rounded_as_the_rule_says(size: Size, rounding: Rounding, expected: Size) -> None:
    assert ResizeRule(800, 1333, rounding).content_size(size) == expected


@given(size=sizes, rule=rules())
def test_a_content_reaches_one_limit_and_passes_none(size: Size, rule: ResizeRule) -> None:
    content = replace(rule, rounding="round").content_size(size)
    assert 1 <= min(content) <= rule.short_side
    assert max(content) <= rule.max_side
    assert min(content) == rule.short_side or max(content) == rule.max_side


@given(size=sizes, rule=rules())
def test_the_rule_treats_both_orientations_alike(size: Size, rule: ResizeRule) -> None:
    assert rule.content_size(size[::-1]) == rule.content_size(size)[::-1]


def test_an_image_without_pixels_is_refused() -> None:
    with pytest.raises(ValueError, match=r"at least one pixel.*\(0, 5\)"):
        SMALL.content_size((0, 5))


@given(size=sizes, rule=rules())
def test_every_content_has_a_default_bucket_that_holds_it(size: Size, rule: ResizeRule) -> None:
    content = rule.content_size(size)
    height, width = rule.bucket(content)
    assert height >= content[0]
    assert width >= content[1]


@given(rule=rules())
def test_default_buckets_lie_and_stand_and_rise(rule: ResizeRule) -> None:
    assert {frame[::-1] for frame in rule.buckets} == set(rule.buckets)
    assert list(rule.buckets) == sorted(
        set(rule.buckets), key=lambda frame: (math.prod(frame), frame)
    )


def test_default_buckets_are_what_cameras_make_and_the_longest() -> None:
    assert SMALL.buckets == (
        (320, 320),
        (320, 448),
        (448, 320),
        (320, 512),
        (512, 320),
        (320, 576),
        (576, 320),
    )
    assert ResizeRule(800, 1333).buckets[1::2] == ((800, 1088), (800, 1248), (800, 1344))
    assert ResizeRule(64, 96).buckets == ((64, 64), (64, 96), (96, 64))


def test_an_image_a_pixel_off_three_by_two_has_its_bucket() -> None:
    assert SMALL.bucket(SMALL.content_size((300, 451))) == (320, 512)


def test_the_smallest_bucket_that_holds_a_content_is_chosen() -> None:
    rule = SMALL.with_buckets(((640, 640), (320, 640), (320, 448)))
    assert rule.bucket((320, 448)) == (320, 448)
    assert rule.bucket((320, 449)) == (320, 640)
    assert rule.bucket((321, 10)) == (640, 640)


def test_of_equal_buckets_the_first_is_chosen() -> None:
    rule = ResizeRule(32, 96, buckets=((64, 128), (128, 64)))
    assert rule.bucket((64, 64)) == (64, 128)
    assert rule.with_buckets(((128, 64), (64, 128))).bucket((64, 64)) == (128, 64)


def test_a_content_that_no_bucket_holds_is_refused_with_what_there_is() -> None:
    with pytest.raises(ValueError, match=r"\(97, 10\).*\[\(96, 96\)\]"):
        ResizeRule(64, 96, buckets=((96, 96),)).bucket((97, 10))


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"short_side": 400, "max_side": 300}, "short_side <= max_side"),
        ({"short_side": 64, "max_side": 96, "buckets": [[100, 128]]}, "multiples of 32"),
        ({"short_side": 64, "max_side": 96, "buckets": [[64, 96]]}, "no bucket holds"),
        ({"short_side": 64, "max_side": 96, "buckets": [[96, 0]]}, "greater than or equal to 1"),
    ],
)
def test_frames_that_inference_could_not_use_are_refused(
    values: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ConfigError, match=reason):
        from_mapping(ResizeRule, values, "here")


def test_at_another_short_side_the_longest_goes_along_and_the_buckets_are_the_defaults() -> None:
    rule = ResizeRule(800, 1333, "floor", "bilinear", buckets=((1344, 1344),))
    assert rule.at_short_side(480) == ResizeRule(480, 800, "floor", "bilinear")


def test_at_its_own_short_side_a_rule_keeps_its_buckets() -> None:
    rule = ResizeRule(800, 1333, buckets=((1344, 1344),))
    assert rule.at_short_side(800) is rule


def test_other_buckets_make_another_rule_and_leave_the_first_as_it_was() -> None:
    rule = ResizeRule(64, 96, "floor", "bilinear", buckets=((96, 96),))
    assert rule.with_buckets() == ResizeRule(64, 96, "floor", "bilinear")
    assert rule.buckets == ((96, 96),)


def test_a_rule_comes_back_from_what_a_checkpoint_holds_of_it() -> None:
    rule = ResizeRule(64, 112, "floor", "bilinear", buckets=((128, 128),))
    assert set(to_mapping(rule)) == {
        "short_side",
        "max_side",
        "rounding",
        "interpolation",
        "decoding",
        "buckets",
    }
    assert from_mapping(ResizeRule, to_mapping(rule), "here") == rule


@given(contents=st.lists(sizes, min_size=1, max_size=5))
def test_the_least_frame_holds_all_contents_and_would_not_a_stride_smaller(
    contents: list[Size],
) -> None:
    frame = least_frame(contents)
    for side, sides_of_contents in zip(frame, zip(*contents, strict=True), strict=True):
        assert side % FRAME_STRIDE == 0
        assert side - FRAME_STRIDE < max(sides_of_contents) <= side
