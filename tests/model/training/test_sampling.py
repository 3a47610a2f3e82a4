import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from model.training.matching import IGNORED, NEGATIVE, POSITIVE
from model.training.sampling import sample


def kinds_of(positive: int, negative: int, ignored: int = 0) -> Tensor:
    kinds = [POSITIVE] * positive + [NEGATIVE] * negative + [IGNORED] * ignored
    order = torch.randperm(len(kinds), generator=torch.Generator().manual_seed(9))
    return torch.tensor(kinds, dtype=torch.int64)[order]


def draw(kinds: Tensor, count: int, fraction: float, seed: int = 0) -> tuple[Tensor, Tensor]:
    return sample(kinds, count, fraction, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("there", "expected"),
    [
        ((300, 5000), (128, 128)),
        ((20, 5000), (20, 236)),  # negatives fill what is left
        ((300, 50), (128, 50)),  # positives do not
        ((3, 4), (3, 4)),
        ((0, 5000), (0, 256)),
        ((0, 0), (0, 0)),
    ],
)
def test_half_of_256_at_most_are_positive(
    there: tuple[int, int], expected: tuple[int, int]
) -> None:
    positive, negative = draw(kinds_of(*there, ignored=11), 256, 0.5)
    assert (len(positive), len(negative)) == expected


def test_a_quarter_of_512_at_most_are_positive() -> None:
    positive, negative = draw(kinds_of(600, 900), 512, 0.25)
    assert (len(positive), len(negative)) == (128, 384)


@given(st.integers(0, 40), st.integers(0, 40), st.integers(1, 50), st.floats(0.01, 1))
def test_indices_are_of_their_kind_and_none_comes_twice(
    positive: int, negative: int, count: int, fraction: float
) -> None:
    kinds = kinds_of(positive, negative, ignored=7)
    chosen_positive, chosen_negative = draw(kinds, count, fraction)
    assert (kinds[chosen_positive] == POSITIVE).all()
    assert (kinds[chosen_negative] == NEGATIVE).all()
    for chosen in (chosen_positive, chosen_negative):
        assert len(set(chosen.tolist())) == len(chosen)
    assert len(chosen_positive) <= count * fraction
    assert len(chosen_positive) + len(chosen_negative) <= count


def test_the_generator_alone_decides() -> None:
    kinds = kinds_of(50, 50)
    torch.manual_seed(1)
    first = torch.cat(draw(kinds, 20, 0.5, seed=3))
    torch.manual_seed(2)
    assert torch.equal(torch.cat(draw(kinds, 20, 0.5, seed=3)), first)
    assert not torch.equal(torch.cat(draw(kinds, 20, 0.5, seed=4)), first)


def test_every_candidate_has_its_chance() -> None:
    kinds, generator = kinds_of(10, 10), torch.Generator().manual_seed(0)
    drawn = torch.cat([torch.cat(sample(kinds, 4, 0.5, generator)) for _ in range(200)])
    counts = drawn.bincount(minlength=20)
    assert counts.min() > 15  # 40 expected of each
