import pytest

from service.admission import Admission
from service.errors import Overloaded


def admission(capacity: int = 4, pace: float = 2.0) -> Admission:
    return Admission(capacity, lambda: pace)


def test_a_permit_is_counted_until_its_block_ends() -> None:
    door = admission()
    with door.admit():
        assert door.held == 1
    assert door.held == 0


def test_a_permit_is_given_back_when_its_block_fails() -> None:
    door = admission()

    def fail_inside() -> None:
        with door.admit() as permit:
            permit.grow_to(3)
            raise KeyError

    with pytest.raises(KeyError):
        fail_inside()
    assert door.held == 0


def test_one_more_than_the_capacity_is_refused_and_costs_nothing() -> None:
    door = admission(capacity=1)
    with door.admit():
        with pytest.raises(Overloaded), door.admit():
            pass
        assert door.held == 1


def test_a_permit_that_cannot_grow_stays_as_it_was() -> None:
    door = admission(capacity=4)
    with door.admit(), door.admit() as permit:
        with pytest.raises(Overloaded, match="no room for 3"):
            permit.grow_to(4)
        assert door.held == 2
    assert door.held == 0


@pytest.mark.parametrize(
    ("pace", "expected_s"), [(2.0, 1.5), (0.0, 1.0), (100.0, 1.0), (0.001, 60.0)]
)
def test_the_wait_is_what_is_inside_over_the_pace_within_bounds(
    pace: float, expected_s: float
) -> None:
    door = admission(capacity=3, pace=pace)
    with door.admit() as permit:
        permit.grow_to(3)
        with pytest.raises(Overloaded) as caught, door.admit():
            pass
    assert caught.value.retry_after_s == expected_s
