"""How batches form. Runs are held at a gate, so that each test decides what happens during one."""

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter

import pytest

from service.batcher import Batcher
from service.engine.layouts import Cores, Layout
from service.errors import Overloaded, Unavailable
from tests.service.batching import LIMITS, Words, batching, queue
from tests.service.fakes import Runs, until

pytestmark = pytest.mark.anyio


async def test_a_lone_item_runs_at_once_and_alone() -> None:
    runs = Runs()
    async with batching(runs) as batcher:
        answer = await batcher.submit("k", "a")
    assert (answer.result, answer.batch_size) == ("A", 1)
    assert answer.queue_s >= 0
    assert answer.run_s > 0


async def test_what_waits_when_the_thread_is_free_runs_together_up_to_the_maximum() -> None:
    runs = Runs(hold=True)
    async with batching(runs, max_batch=3) as batcher:
        tasks = await queue(batcher, "a")
        await runs.begun()
        tasks += await queue(batcher, "b", "c", "d", "e")
        runs.open()
        answers = await asyncio.gather(*tasks)
    assert [answer.result for answer in answers] == ["A", "B", "C", "D", "E"]
    assert [items for _, items in runs.batches] == [["a"], ["b", "c", "d"], ["e"]]
    assert [answer.batch_number for answer in answers] == [1, 2, 2, 2, 3]


async def test_only_items_of_one_key_share_a_batch_and_the_oldest_chooses_it() -> None:
    runs = Runs(hold=True)
    async with batching(runs) as batcher:
        tasks = await queue(batcher, "a")
        await runs.begun()
        tasks += await queue(batcher, "b", key="wide")
        tasks += await queue(batcher, "c", "d", key="tall")
        tasks += await queue(batcher, "e", key="wide")
        runs.open()
        await asyncio.gather(*tasks)
    assert runs.batches == [("k", ["a"]), ("wide", ["b", "e"]), ("tall", ["c", "d"])]


async def test_a_rare_key_is_not_starved_by_a_frequent_one() -> None:
    runs = Runs(hold=True)
    async with batching(runs, max_batch=2) as batcher:
        tasks = await queue(batcher, "a", key="often")
        await runs.begun()
        tasks += await queue(batcher, "rare", key="seldom")
        for item in "bcdefgh":
            tasks += await queue(batcher, item, key="often")
        runs.open()
        await asyncio.gather(*tasks)
    assert runs.batches[1] == ("seldom", ["rare"])


async def test_with_a_window_a_batch_waits_until_it_is_full() -> None:
    runs = Runs()
    async with batching(runs, max_wait_s=3600.0, max_batch=2) as batcher:
        tasks = await queue(batcher, "a")
        await until(lambda: batcher.waiting == 1)
        assert runs.batches == []
        tasks += await queue(batcher, "b")
        await asyncio.gather(*tasks)
    assert runs.batches == [("k", ["a", "b"])]


async def test_with_a_window_a_batch_runs_when_the_oldest_has_waited_long_enough() -> None:
    runs = Runs()
    async with batching(runs, max_wait_s=0.01, max_batch=2) as batcher:
        answer = await batcher.submit("k", "a")
    assert answer.batch_size == 1
    assert answer.queue_s >= 0.009  # the loop's clock may be a millisecond coarse


async def test_a_full_queue_refuses_at_once() -> None:
    runs = Runs(hold=True)
    async with batching(runs, max_waiting=2) as batcher:
        tasks = await queue(batcher, "a")
        await runs.begun()
        tasks += await queue(batcher, "b", "c")
        with pytest.raises(Overloaded, match="^the queue is full: 2 wait$"):
            await batcher.submit("k", "d")
        runs.open()
        await asyncio.gather(*tasks)


async def test_stopping_runs_what_waits_and_takes_no_more() -> None:
    runs = Runs(hold=True)
    async with batching(runs) as batcher:
        tasks = await queue(batcher, "a")
        await runs.begun()
        tasks += await queue(batcher, "b")
        stopping = asyncio.create_task(batcher.stop(grace_s=30))
        await asyncio.sleep(0)
        with pytest.raises(Unavailable, match="^the server is shutting down$") as caught:
            await batcher.submit("k", "c")
        assert caught.value.reason == "draining"
        runs.open()
        await stopping
        assert [answer.result for answer in await asyncio.gather(*tasks)] == ["A", "B"]


async def test_the_age_of_the_oldest_is_zero_when_nobody_waits() -> None:
    runs = Runs(hold=True)
    async with batching(runs) as batcher:
        assert batcher.oldest_age_s == 0
        tasks = await queue(batcher, "a")
        await runs.begun()
        tasks += await queue(batcher, "b")
        assert batcher.oldest_age_s > 0
        runs.open()
        await asyncio.gather(*tasks)


async def test_stopping_ends_the_window() -> None:
    runs = Runs()
    async with batching(runs, max_wait_s=3600.0) as batcher:
        (task,) = await queue(batcher, "a")
        await batcher.stop(grace_s=30)
        assert (await task).result == "A"


WIDE, NARROW = Layout(1, 2), Layout(2, 1)


async def test_a_lone_item_runs_wide_and_a_crowd_narrow_side_by_side() -> None:
    runs = Runs(hold=True)
    async with batching(runs, WIDE, NARROW) as batcher:
        tasks = await queue(batcher, "a")
        await runs.begun()
        tasks += await queue(batcher, "b", "c", "d")
        assert runs.widths == [1]
        runs.let_go()
        await runs.begun()
        await runs.begun()
        assert runs.widths == [1, 2, 2]
        runs.open()
        answers = await asyncio.gather(*tasks)
    assert [answer.result for answer in answers] == ["A", "B", "C", "D"]
    assert [answer.layout for answer in answers] == [WIDE, NARROW, NARROW, NARROW]


async def test_where_items_keep_finding_others_the_last_runs_narrow_too() -> None:
    runs = Runs(hold=True)
    async with batching(runs, WIDE, NARROW) as batcher:
        tasks = await queue(batcher, "a")
        await runs.begun()
        tasks += await queue(batcher, "b")
        runs.let_go()
        await runs.begun()
        tasks += await queue(batcher, "c")
        runs.open()
        await asyncio.gather(*tasks)
        lone = await batcher.submit("k", "d")
    assert runs.widths == [1, 1, 2, 1]
    assert lone.layout == WIDE


async def test_a_narrow_run_begins_beside_another_without_waiting_for_its_end() -> None:
    runs = Runs(hold=True)
    async with batching(runs, NARROW) as batcher:
        first = await queue(batcher, "a")
        await runs.begun()
        second = await queue(batcher, "b")
        await runs.begun()
        assert (batcher.running, batcher.waiting) == (2, 0)
        third = await queue(batcher, "c")
        assert batcher.waiting == 1
        runs.open()
        await asyncio.gather(*first, *second, *third)


async def test_bulk_runs_when_nothing_interactive_waits_and_holds_it_up_for_one_run() -> None:
    runs = Runs(hold=True)
    async with batching(runs, max_batch=2) as batcher:
        tasks = await queue(batcher, "bulk 1", lane="bulk")
        await runs.begun()
        tasks += await queue(batcher, "bulk 2", "bulk 3", lane="bulk")
        tasks += await queue(batcher, "a", "b", "c")
        runs.open()
        await asyncio.gather(*tasks)
    ran = [items for _, items in runs.batches]
    assert ran == [["bulk 1"], ["a", "b"], ["c"], ["bulk 2", "bulk 3"]]


async def test_seconds_in_the_queue_and_of_the_run_are_those_that_passed() -> None:
    runs, began = Runs(hold=True), perf_counter()
    async with batching(runs, max_batch=1) as batcher:
        tasks = await queue(batcher, "a")
        await runs.begun()
        tasks += await queue(batcher, "b")
        first_s = perf_counter() - began
        runs.open()
        first, second = await asyncio.gather(*tasks)
    passed_s = perf_counter() - began
    assert 0 <= first.queue_s <= first_s
    assert 0 < second.queue_s <= passed_s
    assert 0 < first.run_s <= passed_s


async def test_the_pace_is_of_the_key_and_of_all_runs_that_go_on_at_once() -> None:
    async with batching(Runs(), Layout(4, 1)) as batcher:
        answer = await batcher.submit("k", "a")
        assert batcher.pace.run_s("k") == answer.run_s
        assert batcher.pace.mean_item_s == pytest.approx(answer.run_s / 4)
        assert batcher.pace.run_s("other") == 0


async def test_runs_are_in_the_threads_that_were_given() -> None:
    names = []

    class Named(Runs):
        def answer(self, items: Sequence[str]) -> Sequence[str]:
            names.append(threading.current_thread().name)
            return super().answer(items)

    with ThreadPoolExecutor(1, "mine") as threads:
        batcher: Words = Batcher(Named(), LIMITS, Cores([Layout()]), threads)
        await batcher.submit("k", "a")
        await batcher.stop(grace_s=30)
    assert names == ["mine_0"]


async def test_those_that_run_are_company_for_those_that_wait() -> None:
    runs = Runs(hold=True)
    async with batching(runs, Layout(2, 2), Layout(4, 1)) as batcher:
        tasks = await queue(batcher, "a", "b")
        await runs.begun()
        await runs.begun()
        tasks += await queue(batcher, "c", "d")
        runs.let_go()
        await runs.begun()
        await runs.begun()
        assert runs.widths == [2, 2, 4, 4]
        runs.open()
        await asyncio.gather(*tasks)
