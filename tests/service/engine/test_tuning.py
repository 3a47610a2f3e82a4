from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor

import pytest

from service.engine.layouts import Layout
from service.engine.tuning import Timing, candidates, chosen, measured

pytestmark = pytest.mark.anyio

WIDE, NARROW = Layout(1, 2), Layout(2, 1)


def timing(runs: int, batch: int, images_per_s: float, rounds: int = 9) -> Timing:
    return Timing(Layout(runs, 4 // runs, batch), 1.0, images_per_s, rounds)


def runs_and_batches(*timings: Timing) -> list[tuple[int, int]]:
    layouts = [Layout(runs, 4 // runs) for runs in (1, 2, 4)]
    return [(each.runs, each.batch) for each in chosen(layouts, timings)]


@pytest.fixture
def threads() -> Iterator[Executor]:
    with ThreadPoolExecutor(2) as executor:
        yield executor


def test_every_layout_is_tried_with_every_batch_and_what_is_soonest_measured_first() -> None:
    tried = candidates([WIDE, NARROW], [1, 4])
    assert [(each.runs, each.batch) for each in tried] == [(1, 1), (2, 1), (1, 4), (2, 4)]


def test_a_narrower_layout_is_kept_where_it_does_more_than_those_before_it() -> None:
    found = runs_and_batches(timing(1, 1, 38), timing(2, 1, 47), timing(4, 1, 48))
    assert found == [(1, 1), (2, 1)]


def test_a_layout_in_the_middle_that_gains_nothing_is_left_out() -> None:
    found = runs_and_batches(timing(4, 1, 48), timing(1, 1, 38), timing(2, 1, 38.5))
    assert found == [(1, 1), (4, 1)]


def test_the_widest_is_kept_also_where_nothing_is_better() -> None:
    found = runs_and_batches(timing(1, 1, 40), timing(2, 1, 30), timing(4, 1, 39))
    assert found == [(1, 1)]


def test_images_run_together_only_where_that_gains_more_than_noise() -> None:
    found = runs_and_batches(
        timing(1, 1, 30), timing(1, 4, 31), timing(2, 1, 40), timing(2, 4, 50), timing(4, 1, 10)
    )
    assert found == [(1, 1), (2, 4)]


def test_one_round_is_no_evidence_against_narrow_runs_and_none_for_batches() -> None:
    found = runs_and_batches(
        timing(1, 1, 30), timing(1, 4, 90, rounds=1), timing(2, 1, 3, rounds=1)
    )
    assert found == [(1, 1), (2, 1), (4, 1)]


async def test_each_candidate_is_run_as_often_at_once_as_it_has_runs(threads: Executor) -> None:
    ran: list[Layout] = []
    timings = await measured([WIDE, NARROW], ran.append, threads, budget_s=0.05)
    assert {each.layout for each in timings} == {WIDE, NARROW}
    assert ran.count(NARROW) % 2 == 0
    for each in timings:
        assert each.images_per_s == pytest.approx(each.layout.runs / each.run_s)
        assert each.rounds == ran.count(each.layout) / each.layout.runs


async def test_without_time_only_the_first_candidate_is_measured(threads: Executor) -> None:
    timings = await measured([WIDE, NARROW], lambda _: None, threads, budget_s=0.0)
    assert [each.layout for each in timings] == [WIDE]
