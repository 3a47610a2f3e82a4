from collections import deque
from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.admission import PLANNED, Admission, AdmissionLimits, Rates
from service.errors import Overloaded

IN_TIME_S = 1e9


def admission(images: int = 4, max_bytes: int = 100, rates: Rates | None = None) -> Admission:
    return Admission(AdmissionLimits(images, max_bytes), lambda: rates or Rates())


def refusal(door: Admission, costs: list[int], left_s: float = IN_TIME_S) -> Overloaded:
    with pytest.raises(Overloaded) as caught, door.admit(costs, left_s):
        pass
    return caught.value


def test_images_are_counted_until_their_block_ends() -> None:
    door = admission()
    with door.admit([5, 7], IN_TIME_S):
        assert (door.held, door.cost) == (2, 12)
    assert (door.held, door.cost) == (0, 0)


def test_everything_is_given_back_when_a_block_fails() -> None:
    door = admission()

    def fail_inside() -> None:
        with door.receive() as receipt, door.admit([5], IN_TIME_S):
            receipt.add(9)
            raise KeyError

    with pytest.raises(KeyError):
        fail_inside()
    assert (door.held, door.cost, door.bytes) == (0, 0, 0)


def test_what_is_decoded_costs_no_more() -> None:
    door = admission()
    with door.admit([5, 7], IN_TIME_S) as permit:
        permit.decoded(5)
        assert door.cost == 7
    assert door.cost == 0


def test_one_more_than_fits_is_refused_and_costs_nothing() -> None:
    door = admission(images=3)
    with door.admit([1, 1], IN_TIME_S):
        assert (
            "2 of at most 3 images are inside; no room for 2 more" in refusal(door, [1, 1]).detail
        )
        assert (door.held, door.cost) == (2, 2)


def test_a_full_server_can_be_seen_before_a_body_is_read() -> None:
    door = admission(images=1)
    door.look(IN_TIME_S)
    with door.admit([1], IN_TIME_S), pytest.raises(Overloaded):
        door.look(IN_TIME_S)


def test_who_would_be_late_is_told_before_the_body_is_read() -> None:
    door = admission(rates=Rates(image_s=2.0))
    with door.admit([1], IN_TIME_S), door.admit([1], IN_TIME_S, "bulk"):
        door.look(4.0 / PLANNED)
        door.look(6.0 / PLANNED, "bulk")
        with pytest.raises(Overloaded, match=r"about 4\.0 s"):
            door.look(3.9 / PLANNED)
        with pytest.raises(Overloaded, match=r"about 6\.0 s"):
            door.look(5.9 / PLANNED, "bulk")


@pytest.mark.parametrize(("places", "for_bulk"), [(4, 3), (5, 4), (8, 6)])
def test_bulk_has_what_a_quarter_of_the_places_rounded_down_leaves(
    places: int, for_bulk: int
) -> None:
    door = admission(images=places)
    with pytest.raises(Overloaded), door.admit([1] * (for_bulk + 1), IN_TIME_S, "bulk"):
        pass
    with door.admit([1] * for_bulk, IN_TIME_S, "bulk"):
        assert door.held == for_bulk


def test_bulk_leaves_a_quarter_of_the_places_to_others() -> None:
    door = admission(images=4)
    with door.admit([1, 1, 1], IN_TIME_S, "bulk"):
        with pytest.raises(Overloaded, match="bulk"), door.admit([1], IN_TIME_S, "bulk"):
            pass
        with door.admit([1], IN_TIME_S):
            assert door.images == {"interactive": 1, "bulk": 3}


def test_bytes_are_counted_as_they_come_and_given_back_with_the_body() -> None:
    door = admission(max_bytes=10)
    with door.receive() as slow, door.receive() as other:
        slow.add(3)
        slow.add(1)
        other.add(6)
        with pytest.raises(Overloaded, match="10 bytes of bodies are inside; at most 10"):
            slow.add(1)
        assert door.bytes == 10
    assert door.bytes == 0


def test_who_finds_no_room_for_bytes_comes_back_when_what_is_inside_is_answered() -> None:
    door = admission(max_bytes=1, rates=Rates(image_s=4.0))
    with door.admit([1, 1], IN_TIME_S), door.receive() as receipt:
        with pytest.raises(Overloaded) as caught:
            receipt.add(2)
        assert caught.value.retry_after_s == 8


def test_clients_that_have_sent_little_leave_all_places_for_images() -> None:
    door = admission(images=2, max_bytes=100)
    with ExitStack() as trickling:
        for _ in range(64):
            trickling.enter_context(door.receive()).add(1)
        door.look(IN_TIME_S)
        with door.admit([1, 1], IN_TIME_S):
            assert door.held == 2


@pytest.mark.parametrize(
    ("costs", "rates", "says"),
    [
        ([10], Rates(cost_s=1.0), "about 20.0 s, and there are 15.0 s"),
        ([10], Rates(image_s=8.0), "about 16.0 s, and there are 15.0 s"),
    ],
)
def test_what_would_be_late_is_refused_by_the_price_of_decoding_and_of_inference(
    costs: list[int], rates: Rates, says: str
) -> None:
    door = admission(rates=rates)
    with door.admit(costs, 15.0):
        refused = refusal(door, costs, left_s=15.0)
        assert says in refused.detail
        assert refused.reason == "late"
        assert refused.retry_after_s == pytest.approx(float(says.split()[1]) - 15 * PLANNED)


def test_a_large_image_does_not_count_against_small_ones_once_it_is_decoded() -> None:
    door = admission(rates=Rates(cost_s=1.0))
    with door.admit([100], IN_TIME_S) as permit:
        refusal(door, [1], left_s=50)
        permit.decoded(100)
        with door.admit([1], 50):
            pass


def test_bulk_that_waits_is_no_reason_to_refuse_what_goes_before_it() -> None:
    door = admission(rates=Rates(image_s=1.0))
    with door.admit([1, 1, 1], IN_TIME_S, "bulk"), door.admit([1], 1.0 / PLANNED):
        pass


def test_bulk_waits_for_all_that_is_inside() -> None:
    door = admission(rates=Rates(image_s=1.0))
    with door.admit([1], IN_TIME_S), door.admit([1], IN_TIME_S, "bulk"):
        assert (door.answer_s([1], "bulk"), door.answer_s([1], "interactive")) == (3, 2)
        with pytest.raises(Overloaded, match="about 3.0 s"), door.admit([1], 2.9 / PLANNED, "bulk"):
            pass
        with door.admit([1], 2.9 / PLANNED):
            pass


def test_costs_of_several_requests_add_up() -> None:
    door = admission()
    with door.admit([5], IN_TIME_S), door.admit([7], IN_TIME_S):
        assert door.cost == 12


def test_the_first_is_let_in_whatever_is_believed_of_the_pace() -> None:
    with admission(rates=Rates(cost_s=1e6, image_s=1e6)).admit([1], 0.1):
        pass


@pytest.mark.parametrize(("image_s", "expected_s"), [(3.0, 6.0), (0.0, 1.0), (0.01, 1.0), (99, 60)])
def test_the_wait_is_until_there_is_room_within_bounds(image_s: float, expected_s: float) -> None:
    door = admission(images=3, rates=Rates(image_s=image_s))
    with door.admit([1, 1, 1], IN_TIME_S):
        assert refusal(door, [1, 1]).retry_after_s == expected_s


@given(
    image_s=st.floats(0.2, 5),
    inside=st.integers(5, 12),
    more=st.integers(1, 5),
    left_s=st.one_of(st.just(IN_TIME_S), st.floats(5, 40)),
)
def test_who_comes_back_after_the_wait_is_let_in_and_not_long_before(
    image_s: float, inside: int, more: int, left_s: float
) -> None:
    """A server that answers an image every `image_s`: the wait is right within a factor of two, bounds apart."""
    door = admission(images=12, rates=Rates(image_s=image_s))
    with ExitStack() as stack:
        places = deque(stack.enter_context(ExitStack()) for _ in range(inside))
        for place in places:
            place.enter_context(door.admit([0], IN_TIME_S))
        now_s, told_s = 0.0, None
        while True:
            try:
                with door.admit([0] * more, left_s):
                    break
            except Overloaded as refused:
                told_s = told_s or refused.retry_after_s
            if not places:
                return
            places.popleft().close()
            now_s += image_s
        if told_s is not None and 1 < told_s < 60:
            assert told_s / 2 <= now_s <= told_s * 2 + image_s
