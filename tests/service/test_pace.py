import pytest

from service.pace import WEIGHT, Pace


def test_nothing_is_known_before_the_first_run() -> None:
    pace = Pace[str]()
    assert (pace.run_s("k"), pace.mean_item_s) == (0, 0)


def test_a_run_is_shared_by_the_items_that_go_on_at_once() -> None:
    pace = Pace[str]()
    pace.note("k", run_s=0.6, items=3)
    assert pace.run_s("k") == 0.6
    assert pace.mean_item_s == pytest.approx(0.2)


def test_a_new_run_counts_a_part() -> None:
    pace = Pace[str]()
    pace.note("k", 1.0, 1)
    pace.note("l", 9.0, 1)
    pace.note("k", 3.0, 1)
    assert pace.run_s("k") == pytest.approx(1 + WEIGHT * 2)
    assert pace.run_s("l") == 9


def test_what_an_item_adds_is_of_the_keys_that_there_are_as_often_as_they_come() -> None:
    pace = Pace[str]()
    pace.note("k", 1.0, 1)
    pace.note("rare", 9.0, 1)
    for _ in range(30):
        pace.note("k", 1.0, 1)
    assert pace.mean_item_s == pytest.approx(1, abs=0.02)


def test_an_unknown_key_is_never_too_late() -> None:
    pace = Pace[str]()
    pace.note("k", 1.0, 1)
    assert pace.run_s("new") == 0
