"""The promise that everybody is answered: cancelled, late, failed, stalled, stopped."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest

from service.batcher import Batcher
from service.engine.layouts import Cores, Layout
from service.errors import DeadlineExceeded, InferenceFailed, Unavailable
from service.pace import Pace
from tests.service.batching import LIMITS, Words, batching, queue
from tests.service.fakes import Failing, Miscounting, Runs, until

pytestmark = pytest.mark.anyio


async def test_a_cancelled_request_never_runs_and_does_not_disturb_its_batch() -> None:
    runs = Runs(hold=True)
    async with batching(runs) as batcher:
        first, *rest = await queue(batcher, "a")
        await runs.begun()
        kept, cancelled, also_kept = await queue(batcher, "b", "c", "d")
        cancelled.cancel()
        await until(lambda: batcher.waiting == 2)
        runs.open()
        answers = await asyncio.gather(first, *rest, kept, also_kept)
    assert [answer.result for answer in answers] == ["A", "B", "D"]
    assert runs.batches[1] == ("k", ["b", "d"])


async def test_an_item_cancelled_in_the_very_moment_of_its_batch_never_runs() -> None:
    runs = Runs()
    async with batching(runs) as batcher:
        (cancelled,) = await queue(batcher, "a")
        cancelled.cancel()
        assert (await batcher.submit("k", "b")).result == "B"
    assert runs.batches == [("k", ["b"])]


async def test_an_item_cancelled_during_a_run_that_fails_does_not_run_again() -> None:
    runs = Failing(ValueError("no"), hold=True)
    async with batching(runs) as batcher:
        blocker = await queue(batcher, "a")
        await runs.begun()
        bad, cancelled = await queue(batcher, "bad", "b")
        runs.let_go()
        await runs.begun()
        cancelled.cancel()
        runs.open()
        await asyncio.gather(bad, cancelled, *blocker, return_exceptions=True)
    assert runs.batches[1:] == [("k", ["bad", "b"]), ("k", ["bad"])]


async def test_a_request_cancelled_while_it_runs_does_not_disturb_its_batch() -> None:
    runs = Runs(hold=True)
    async with batching(runs) as batcher:
        blocker = await queue(batcher, "a")
        await runs.begun()
        cancelled, kept = await queue(batcher, "b", "c")
        runs.let_go()
        await runs.begun()
        cancelled.cancel()
        runs.open()
        assert (await kept).result == "C"
        assert (await blocker[0]).result == "A"
        assert (await batcher.submit("k", "d")).result == "D"


async def test_a_deadline_passes_on_a_timer_while_the_thread_is_busy() -> None:
    runs = Runs(hold=True)
    async with batching(runs) as batcher:
        blocker = await queue(batcher, "a")
        await runs.begun()
        soon = asyncio.get_running_loop().time() + 0.01
        with pytest.raises(DeadlineExceeded):
            await batcher.submit("k", "late", soon)
        assert batcher.waiting == 0
        runs.open()
        await asyncio.gather(*blocker)
    assert runs.batches == [("k", ["a"])]


async def test_a_deadline_passes_also_for_an_item_that_runs() -> None:
    runs = Runs(hold=True)
    async with batching(runs) as batcher:
        soon = asyncio.get_running_loop().time() + 0.01
        with pytest.raises(
            DeadlineExceeded, match="^the deadline passed before the answer was there$"
        ):
            await batcher.submit("k", "slow", soon)
        runs.open()
        assert (await batcher.submit("k", "next")).result == "NEXT"


async def test_an_item_whose_deadline_has_passed_already_never_runs() -> None:
    runs = Runs()
    async with batching(runs) as batcher:
        with pytest.raises(DeadlineExceeded):
            await batcher.submit("k", "late", asyncio.get_running_loop().time())
    assert runs.batches == []


@pytest.mark.parametrize(
    "error",
    [
        ValueError("no"),
        StopIteration(),
        asyncio.CancelledError(),
        SystemExit(1),
        TimeoutError(),
        MemoryError(),
    ],
)
async def test_whatever_a_run_raises_only_the_guilty_item_fails(error: BaseException) -> None:
    runs = Failing(error, hold=True)
    async with batching(runs) as batcher:
        blocker = await queue(batcher, "a")
        await runs.begun()
        good, bad, also_good = await queue(batcher, "b", "bad", "c")
        runs.open()
        assert [(await task).result for task in (*blocker, good, also_good)] == ["A", "B", "C"]
        with pytest.raises(InferenceFailed, match="^the model failed on this input$"):
            await bad
        assert (await batcher.submit("k", "d")).result == "D"
    singles = [items for _, items in runs.batches[2:5]]
    assert singles == [["b"], ["bad"], ["c"]]


async def test_a_wrong_number_of_results_fails_everyone_and_mixes_up_nobody() -> None:
    async with batching(Miscounting()) as batcher:
        answers = await asyncio.gather(
            batcher.submit("k", "a"), batcher.submit("k", "b"), return_exceptions=True
        )
        assert batcher.fault is None
    assert [type(answer) for answer in answers] == [InferenceFailed, InferenceFailed]


async def test_the_room_of_a_cancelled_item_is_free_again() -> None:
    runs = Runs(hold=True)
    async with batching(runs, max_waiting=1) as batcher:
        tasks = await queue(batcher, "a")
        await runs.begun()
        (cancelled,) = await queue(batcher, "b")
        cancelled.cancel()
        await until(lambda: batcher.waiting == 0)
        tasks += await queue(batcher, "c")
        runs.open()
        assert [answer.result for answer in await asyncio.gather(*tasks)] == ["A", "C"]


async def test_stopping_with_a_run_that_hangs_answers_everyone_all_the_same() -> None:
    runs = Runs(hold=True)
    async with batching(runs) as batcher:
        tasks = await queue(batcher, "a")
        await runs.begun()
        tasks += await queue(batcher, "b")
        await batcher.stop(grace_s=0)
        answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(answer) for answer in answers] == [Unavailable, Unavailable]


async def test_when_the_loop_dies_everyone_is_answered_and_health_tells() -> None:
    runs = Runs(hold=True)
    async with batching(runs) as batcher:
        tasks = await queue(batcher, "a")
        await runs.begun()
        tasks += await queue(batcher, "b")
        (loop,) = (task for task in asyncio.all_tasks() if task.get_name() == "batcher")
        loop.cancel()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(answer) for answer in answers] == [Unavailable, Unavailable]
        assert batcher.fault == "the batch loop has ended"
        with pytest.raises(Unavailable, match="^the server has stopped answering$") as caught:
            await batcher.submit("k", "c")
        assert caught.value.reason == "ended"


async def test_a_run_that_takes_too_long_is_a_fault_until_it_ends() -> None:
    runs = Runs(hold=True)
    async with batching(runs, stall_s=0.0) as batcher:
        tasks = await queue(batcher, "a")
        await runs.begun()
        assert batcher.fault is not None
        assert "has been running" in batcher.fault
        runs.open()
        await asyncio.gather(*tasks)
        assert batcher.fault is None


async def test_what_would_be_late_makes_room_for_what_would_not() -> None:
    runs = Runs(hold=True)
    async with batching(runs, max_batch=1) as batcher:
        tasks = await queue(batcher, "a")
        await runs.begun()
        batcher.pace.note("k", run_s=60, items=1)
        soon = asyncio.get_running_loop().time() + 30
        late = asyncio.create_task(batcher.submit("k", "late", soon))
        await until(lambda: batcher.waiting == 1)
        tasks += await queue(batcher, "b")
        runs.open()
        with pytest.raises(DeadlineExceeded, match="^the answer would not be there in time$"):
            await late
        await asyncio.gather(*tasks)
    assert [items for _, items in runs.batches] == [["a"], ["b"]]


async def test_all_that_would_be_late_is_dropped_wherever_it_waits() -> None:
    runs = Runs(hold=True)
    async with batching(runs, max_batch=1) as batcher:
        tasks = await queue(batcher, "a")
        await runs.begun()
        batcher.pace.note("k", run_s=60, items=1)
        tasks += await queue(batcher, "b")
        soon = asyncio.get_running_loop().time() + 30
        late = [batcher.submit("k", item, soon) for item in ("l", "m")]
        answers = await asyncio.gather(*late, return_exceptions=True)
        assert batcher.waiting == 1
        runs.open()
        await asyncio.gather(*tasks)
    assert [type(answer) for answer in answers] == [DeadlineExceeded, DeadlineExceeded]


async def test_what_would_be_late_runs_where_nothing_else_waits() -> None:
    runs = Runs()
    async with batching(runs) as batcher:
        batcher.pace.note("k", run_s=60, items=1)
        soon = asyncio.get_running_loop().time() + 30
        assert (await batcher.submit("k", "late", soon)).result == "LATE"


async def test_a_run_that_hangs_is_a_fault_while_others_go_on() -> None:
    runs = Runs(hold=True)
    async with batching(runs, Layout(2, 1), stall_s=0.0) as batcher:
        hung = await queue(batcher, "a")
        await runs.begun()
        runs.hold = False
        assert (await batcher.submit("k", "b")).result == "B"
        assert batcher.fault is not None
        runs.open()
        await asyncio.gather(*hung)
        assert batcher.fault is None


async def test_a_batch_that_fails_runs_again_one_by_one_beside_another_run() -> None:
    runs = Failing(ValueError("no"), hold=True)
    async with batching(runs, Layout(2, 1, batch=2)) as batcher:
        beside = await queue(batcher, "x")
        await runs.begun()
        good, bad = await queue(batcher, "a", "bad", key="l")
        runs.let_go(2)
        assert (await good).result == "A"
        runs.open()
        with pytest.raises(InferenceFailed):
            await bad
        assert (await beside[0]).result == "X"


async def test_stopping_answers_those_of_every_run_that_hangs() -> None:
    runs = Runs(hold=True)
    async with batching(runs, Layout(2, 1)) as batcher:
        tasks = await queue(batcher, "a", "b", "c")
        await runs.begun()
        await runs.begun()
        assert await batcher.stop(grace_s=0) is False
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        runs.open()
    assert [type(answer) for answer in answers] == [Unavailable] * 3


async def test_failures_are_logged_with_what_was_raised(caplog: pytest.LogCaptureFixture) -> None:
    no = ValueError("no")
    runs = Failing(no, hold=True)
    async with batching(runs) as batcher:
        blocker = await queue(batcher, "a")
        await runs.begun()
        tasks = await queue(batcher, "b", "bad")
        runs.open()
        await asyncio.gather(*blocker, *tasks, return_exceptions=True)
        with pytest.raises(InferenceFailed):
            await batcher.submit("k", "bad")
    said = [(each.getMessage(), each.exc_info and each.exc_info[1]) for each in caplog.records]
    alone = ("an item failed, alone in its batch", no)
    assert said == [("a batch of 2 failed: its items run again, one by one", None), alone, alone]


async def test_a_wrong_number_of_results_is_logged_with_both_numbers(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with batching(Miscounting()) as batcher:
        with pytest.raises(InferenceFailed):
            await batcher.submit("k", "a")
    assert "run_batch: expected 1 results, got 0" in caplog.text


class BrokenCores(Cores):
    """Breaks the loop, as a fault of ours would."""

    def claim(self, company: int) -> Layout | None:
        raise ZeroDivisionError(company)


async def test_a_loop_that_breaks_says_why_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with ThreadPoolExecutor(1) as threads:
        batcher: Words = Batcher(Runs(), LIMITS, BrokenCores([Layout()]), threads)
        with pytest.raises(Unavailable, match="^the server has stopped answering$"):
            await batcher.submit("k", "a")
        await batcher.stop(grace_s=0)
    (record,) = caplog.records
    assert (record.levelname, record.getMessage()) == ("CRITICAL", "the batch loop ended")
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError


async def test_a_loop_that_is_stopped_leaves_no_line(caplog: pytest.LogCaptureFixture) -> None:
    async with batching(Runs()) as batcher:
        await batcher.submit("k", "a")
    async with batching(Runs(hold=True)) as batcher:
        (task,) = await queue(batcher, "a")
        await batcher.stop(grace_s=0)
        await asyncio.gather(task, return_exceptions=True)
    assert caplog.records == []


class BrokenPace(Pace[str]):
    """Breaks whoever tells it of a run, as a fault of ours would."""

    def note(self, key: str, run_s: float, items: int) -> None:
        raise ZeroDivisionError(key)


async def test_a_run_that_ends_in_a_fault_of_ours_answers_its_items_and_says_why(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with batching(Runs()) as batcher:
        batcher.pace = BrokenPace()
        with pytest.raises(Unavailable):
            await batcher.submit("k", "a")
    (record,) = caplog.records
    assert record.levelname == "CRITICAL"
    assert record.getMessage() == "a run ended in a way that is a fault of ours"
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError
