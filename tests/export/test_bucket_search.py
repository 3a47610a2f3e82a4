from itertools import combinations
from math import prod

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from export.bucket_search import best_buckets, padding_share
from model.config.resize import ResizeRule, Rounding, Size

sides = st.integers(1, 900)
images = st.lists(st.tuples(sides, sides), max_size=12)
roundings: st.SearchStrategy[Rounding] = st.sampled_from(("round", "floor"))
RULE = ResizeRule(320, 576)


def framed_pixels(sizes: list[Size], rule: ResizeRule) -> int:
    return sum(prod(rule.bucket(rule.content_size(size))) for size in sizes)


def holds_every_size(buckets: tuple[Size, ...], rule: ResizeRule) -> bool:
    return all(any(h >= a and w >= b for h, w in buckets) for a, b in rule.extremes)


def least_pixels(sizes: list[Size], rule: ResizeRule, most: int) -> int:
    """By trying every set of frames on the grid up to the longest side."""
    grid = range(32, rule.max_side + 32, 32)
    frames = [(height, width) for height in grid for width in grid]
    return min(
        framed_pixels(sizes, rule.with_buckets(chosen))
        for count in range(1, most + 1)
        for chosen in combinations(frames, count)
        if holds_every_size(chosen, rule)
    )


@settings(max_examples=40)
@given(images=images, most=st.integers(1, 3), more=st.integers(0, 96), rounding=roundings)
def test_no_other_frames_have_fewer_pixels(
    images: list[Size], most: int, more: int, rounding: Rounding
) -> None:
    rule = ResizeRule(64, 64 + more, rounding)
    chosen = rule.with_buckets(best_buckets(images, rule, most))
    with_longest = [*images, *rule.extremes]
    assert len(chosen.buckets) <= most
    assert framed_pixels(with_longest, chosen) == least_pixels(with_longest, rule, most)


@given(images=images, most=st.integers(1, 6), short=st.integers(16, 300), more=st.integers(0, 300))
def test_a_resize_rule_with_the_chosen_buckets_takes_any_image(
    images: list[Size], most: int, short: int, more: int
) -> None:
    plain = ResizeRule(short, short + more)
    rule = plain.with_buckets(best_buckets(images, plain, most))
    assert list(rule.buckets) == sorted(set(rule.buckets), key=lambda frame: (prod(frame), frame))
    for size in ((1, 900), (900, 1), (333, 500), (200, 200)):
        rule.bucket(rule.content_size(size))


@given(images=st.lists(st.tuples(sides, sides), min_size=1, max_size=12), most=st.integers(1, 5))
def test_one_bucket_more_never_pads_more(images: list[Size], most: int) -> None:
    few, many = (RULE.with_buckets(best_buckets(images, RULE, n)) for n in (most, most + 1))
    images += RULE.extremes
    assert padding_share(images, many) <= padding_share(images, few)


@given(images=images)
def test_the_order_of_the_images_does_not_matter(images: list[Size]) -> None:
    assert best_buckets(images, RULE, 4) == best_buckets(images[::-1], RULE, 4)


def test_as_many_buckets_as_there_are_defaults_pad_no_more_than_these() -> None:
    sizes = [(333, 500), (375, 500), (500, 375), (480, 640), (1080, 1920), (281, 500)] * 3
    chosen = RULE.with_buckets(best_buckets(sizes, RULE, len(RULE.buckets)))
    assert padding_share(sizes, chosen) < padding_share(sizes, RULE)


def test_without_images_the_two_longest_frames_are_enough() -> None:
    assert best_buckets([], RULE, 6) == ((320, 576), (576, 320))
    assert best_buckets([], RULE, 1) == ((576, 576),)


def test_images_that_are_not_quite_square_may_share_a_frame() -> None:
    sizes = [(320, 330), (330, 320)] * 50 + [(320, 576), (576, 320)] * 10
    assert best_buckets(sizes, RULE, 3) == ((352, 352), (320, 576), (576, 320))


@pytest.mark.parametrize(("rounding", "width"), [("floor", 1088), ("round", 1120)])
def test_frames_are_chosen_for_sides_rounded_as_the_rule_says(
    rounding: Rounding, width: int
) -> None:
    # 581 * 800 / 427 = 1088.52: torchvision's rule leaves the frame of 1088, Detectron2's needs the next
    rule = ResizeRule(800, 1333, rounding)
    chosen = rule.with_buckets(best_buckets([(427, 581)], rule, 3))
    assert chosen.buckets == ((800, width), (800, 1344), (1344, 800))
    content = 800 * (1089 if rounding == "round" else 1088)
    assert padding_share([(427, 581)], chosen) == pytest.approx(1 - content / (800 * width))


def test_the_padding_share_is_that_of_all_frames_together() -> None:
    # 64 x 96 fills its frame; 96 x 48 becomes 128 x 64 in the frame of 128 x 128
    rule = ResizeRule(64, 128, buckets=((64, 96), (128, 128)))
    assert padding_share([(64, 96), (96, 48)], rule) == pytest.approx(
        1 - (64 * 96 + 128 * 64) / (64 * 96 + 128 * 128)
    )


def test_no_bucket_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="expected one bucket or more, got 0"):
        best_buckets([(100, 200)], RULE, 0)
