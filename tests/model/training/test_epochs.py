import math
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from model.config.resize import Size
from model.training.epochs import Draw, divide, plan_epoch

sizes_of_pictures = st.lists(
    st.tuples(st.integers(1, 50), st.integers(1, 50)), min_size=1, max_size=60
)

batch_sizes = st.integers(1, 7)


def plan(
    sizes: Sequence[Size], batch_size: int = 4, seed: int = 3, epoch: int = 2, flip: bool = True
) -> list[list[Draw]]:
    return plan_epoch(
        sizes, seed=seed, epoch=epoch, batch_size=batch_size, short_sides=(24, 32), flip=flip
    )


def is_portrait(size: Size) -> bool:
    return size[0] > size[1]


@given(sizes=sizes_of_pictures, batch_size=batch_sizes)
def test_every_picture_is_drawn_once_an_epoch(sizes: list[Size], batch_size: int) -> None:
    drawn = [draw.index for batch in plan(sizes, batch_size) for draw in batch]
    assert sorted(drawn) == list(range(len(sizes)))


@given(sizes=sizes_of_pictures, batch_size=batch_sizes)
def test_all_batches_but_one_are_full(sizes: list[Size], batch_size: int) -> None:
    lengths = sorted(map(len, plan(sizes, batch_size)))
    assert len(lengths) == math.ceil(len(sizes) / batch_size)
    assert all(length == batch_size for length in lengths[1:])


@given(sizes=sizes_of_pictures, batch_size=batch_sizes)
def test_only_leftovers_mix_the_orientations(sizes: list[Size], batch_size: int) -> None:
    batches = plan(sizes, batch_size)
    mixed = [b for b in batches if len({is_portrait(sizes[draw.index]) for draw in b}) > 1]
    assert len(mixed) <= 2


def test_pictures_of_like_aspect_share_a_batch() -> None:
    squares, wide = [(30, 30)] * 16, [(20, 40)] * 16
    batches = plan([size for pair in zip(squares, wide, strict=True) for size in pair])
    assert all(len({draw.index % 2 for draw in batch}) == 1 for batch in batches)


@given(sizes=sizes_of_pictures, batch_size=batch_sizes, epoch=st.integers(0, 1000))
def test_a_plan_is_a_function_of_seed_and_epoch(
    sizes: list[Size], batch_size: int, epoch: int
) -> None:
    assert plan(sizes, batch_size, epoch=epoch) == plan(sizes, batch_size, epoch=epoch)


def test_epochs_and_seeds_differ() -> None:
    sizes = [(20, 30)] * 50
    plans = [plan(sizes), plan(sizes, epoch=3), plan(sizes, seed=4), plan(sizes, seed=2, epoch=3)]
    assert all(one != other for i, one in enumerate(plans) for other in plans[:i])


def test_a_batch_has_one_short_side_and_an_epoch_has_all() -> None:
    batches = plan([(20, 30), (30, 20)] * 40)
    short_sides = [{draw.short_side for draw in batch} for batch in batches]
    assert all(len(drawn) == 1 for drawn in short_sides)
    assert set().union(*short_sides) == {24, 32}


def test_about_half_of_the_pictures_are_mirrored_and_none_when_off() -> None:
    sizes = [(20, 30)] * 1000
    mirrored = [draw.flip for batch in plan(sizes) for draw in batch]
    assert 400 < sum(mirrored) < 600
    assert not any(draw.flip for batch in plan(sizes, flip=False) for draw in batch)


def test_turning_flips_off_changes_nothing_else() -> None:
    sizes = [(20, 30), (30, 20)] * 20
    with_flips = [[(d.index, d.short_side) for d in batch] for batch in plan(sizes)]
    without = [[(d.index, d.short_side) for d in batch] for batch in plan(sizes, flip=False)]
    assert with_flips == without


@given(count=st.integers(1, 9), parts=st.integers(1, 4))
def test_the_shares_of_a_batch_are_the_batch(count: int, parts: int) -> None:
    batch = [Draw(10 + number, False, 40) for number in range(count)]
    shares = divide(batch, (64, 96), parts)
    taken = {p: d for share in shares for p, d in zip(share.positions, share.draws, strict=True)}
    assert [taken[position] for position in range(count)] == batch
    assert {(share.whole, share.frame) for share in shares} == {(count, (64, 96))}
    lengths = [len(share.draws) for share in shares]
    assert len(lengths) == parts
    assert max(lengths) - min(lengths) <= 1
