"""What the whole and the tiles have found, as one list."""

from service.detections import Detection, ProposalPlace
from service.merging import merged
from service.pictures.tiling import Window

SIZE, IOU = (400, 700), 0.5
# Two tiles of 400 x 400 that overlap by a quarter.
LEFT: Window = (0, 0, 400, 400)
RIGHT: Window = (0, 300, 400, 400)


def found(label: str, score: float, x1: float, y1: float, x2: float, y2: float) -> Detection:
    return Detection(label, 1, score, (x1, y1, x2, y2), "P3", ProposalPlace("P3", 0))


def test_without_tiles_nothing_changes() -> None:
    whole = [found("cat", 0.9, 0, 0, 9, 9), found("cat", 0.8, 0, 0, 9, 10)]
    assert merged(whole, [], SIZE, IOU) == whole


def test_what_is_small_comes_from_the_tiles_in_pixels_of_the_photograph() -> None:
    whole = [found("cat", 0.9, 400, 50, 420, 70)]
    (one,) = merged(whole, [(LEFT, []), (RIGHT, [found("cat", 0.6, 100, 50, 121, 70)])], SIZE, IOU)
    assert (one.box, one.score, one.tile) == ((400.0, 50.0, 421.0, 70.0), 0.6, 1)


def test_what_is_large_comes_from_the_whole() -> None:
    whole = [found("cat", 0.5, 10, 10, 650, 390)]
    tiles = [(LEFT, [found("cat", 0.9, 10, 10, 399, 380)]), (RIGHT, [])]
    assert merged(whole, tiles, SIZE, IOU) == whole


def test_what_an_inner_edge_cuts_off_is_left_to_the_tile_that_holds_it() -> None:
    cut, held = found("cat", 0.9, 360, 10, 400, 60), found("cat", 0.8, 60, 10, 130, 60)
    (one,) = merged([], [(LEFT, [cut]), (RIGHT, [held])], SIZE, IOU)
    assert (one.tile, one.box) == (1, (360.0, 10.0, 430.0, 60.0))


def test_what_ends_at_the_edge_of_the_photograph_is_no_part() -> None:
    (one,) = merged([], [(LEFT, [found("cat", 0.9, 0, 0, 50, 60)]), (RIGHT, [])], SIZE, IOU)
    assert one.tile == 0


def test_what_two_tiles_find_is_one_and_the_better_score_stays() -> None:
    tiles = [
        (LEFT, [found("cat", 0.7, 320, 100, 380, 160)]),
        (RIGHT, [found("cat", 0.8, 21, 100, 80, 161), found("dog", 0.6, 21, 100, 80, 161)]),
    ]
    both = merged([], tiles, SIZE, IOU)
    assert [(each.label, each.score, each.tile) for each in both] == [
        ("cat", 0.8, 1),
        ("dog", 0.6, 1),
    ]


def test_what_one_list_has_apart_stays_apart() -> None:
    near = [found("cat", 0.9, 100, 100, 160, 160), found("cat", 0.8, 110, 100, 170, 160)]
    assert len(merged([], [(LEFT, near), (RIGHT, [])], SIZE, IOU)) == 2
