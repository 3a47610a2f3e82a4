from itertools import combinations
from math import prod

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from export.bucket_search import best_buckets, padding_share
from model.config.resize import ResizeConfig, Size, choose_bucket, default_buckets, resized_size

sides = st.integers(1, 900)
pictures = st.lists(st.tuples(sides, sides), max_size=12)


def framed_pixels(sizes: list[Size], rule: tuple[int, int], buckets: tuple[Size, ...]) -> int:
    return sum(prod(choose_bucket(resized_size(size, *rule), buckets)) for size in sizes)


def holds_every_size(buckets: tuple[Size, ...], short_side: int, max_side: int) -> bool:
    ends = ((short_side, max_side), (max_side, short_side))
    return all(any(h >= a and w >= b for h, w in buckets) for a, b in ends)


def least_pixels(sizes: list[Size], rule: tuple[int, int], most: int) -> int:
    """By trying every set of frames on the grid up to the longest side."""
    grid = range(32, rule[1] + 32, 32)
    frames = [(height, width) for height in grid for width in grid]
    return min(
        framed_pixels(sizes, rule, chosen)
        for count in range(1, most + 1)
        for chosen in combinations(frames, count)
        if holds_every_size(chosen, *rule)
    )


@settings(max_examples=40)
@given(sizes=pictures, most=st.integers(1, 3), more=st.integers(0, 96))
def test_no_other_frames_have_fewer_pixels(sizes: list[Size], most: int, more: int) -> None:
    rule = (64, 64 + more)
    buckets = best_buckets(sizes, *rule, most)
    with_longest = [*sizes, rule, rule[::-1]]
    assert len(buckets) <= most
    assert framed_pixels(with_longest, rule, buckets) == least_pixels(with_longest, rule, most)


@given(sizes=pictures, most=st.integers(1, 6), short=st.integers(16, 300), more=st.integers(0, 300))
def test_a_resize_rule_with_the_chosen_buckets_takes_any_photograph(
    sizes: list[Size], most: int, short: int, more: int
) -> None:
    buckets = best_buckets(sizes, short, short + more, most)
    assert ResizeConfig(short, short + more, buckets=buckets).buckets == buckets
    assert list(buckets) == sorted(set(buckets), key=lambda frame: (prod(frame), frame))
    for size in ((1, 900), (900, 1), (333, 500), (200, 200)):
        choose_bucket(resized_size(size, short, short + more), buckets)


@given(sizes=st.lists(st.tuples(sides, sides), min_size=1, max_size=12), most=st.integers(1, 5))
def test_one_bucket_more_never_pads_more(sizes: list[Size], most: int) -> None:
    few, many = (best_buckets(sizes, 320, 576, count) for count in (most, most + 1))
    sizes += [(320, 576), (576, 320)]
    assert padding_share(sizes, 320, 576, many) <= padding_share(sizes, 320, 576, few)


@given(sizes=pictures)
def test_the_order_of_the_pictures_does_not_matter(sizes: list[Size]) -> None:
    assert best_buckets(sizes, 320, 576, 4) == best_buckets(sizes[::-1], 320, 576, 4)


def test_as_many_buckets_as_there_are_defaults_pad_no_more_than_these() -> None:
    sizes = [(333, 500), (375, 500), (500, 375), (480, 640), (1080, 1920), (281, 500)] * 3
    default = default_buckets(320, 576)
    chosen = best_buckets(sizes, 320, 576, len(default))
    assert padding_share(sizes, 320, 576, chosen) < padding_share(sizes, 320, 576, default)


def test_without_pictures_the_two_longest_frames_are_enough() -> None:
    assert best_buckets([], 320, 576, 6) == ((320, 576), (576, 320))
    assert best_buckets([], 320, 576, 1) == ((576, 576),)


def test_pictures_that_are_not_quite_square_may_share_a_frame() -> None:
    sizes = [(320, 330), (330, 320)] * 50 + [(320, 576), (576, 320)] * 10
    assert best_buckets(sizes, 320, 576, 3) == ((352, 352), (320, 576), (576, 320))


def test_the_padding_share_is_that_of_all_frames_together() -> None:
    # 64 x 96 fills its frame; 96 x 48 becomes 128 x 64 in the frame of 128 x 128
    sizes, buckets = [(64, 96), (96, 48)], [(64, 96), (128, 128)]
    assert padding_share(sizes, 64, 128, buckets) == pytest.approx(
        1 - (64 * 96 + 128 * 64) / (64 * 96 + 128 * 128)
    )


@pytest.mark.parametrize(("short", "longest", "most"), [(0, 64, 2), (96, 64, 2), (64, 96, 0)])
def test_what_makes_no_sense_is_refused(short: int, longest: int, most: int) -> None:
    with pytest.raises(ValueError, match="expected"):
        best_buckets([(100, 200)], short, longest, most)
