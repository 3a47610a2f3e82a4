"""How many requests go on at once, and when nobody is asked any more."""

import asyncio

import pytest

from service.errors import Overloaded
from service.offline.throttle import ROUNDS, Throttle

pytestmark = pytest.mark.anyio


async def test_no_more_go_on_than_the_most() -> None:
    throttle, inside, seen = Throttle(3, patience_s=60), 0, []

    async def one() -> None:
        nonlocal inside
        async with throttle.turn():
            inside += 1
            seen.append(inside)
            await asyncio.sleep(0)
            inside -= 1

    await asyncio.gather(*(one() for _ in range(12)))
    assert max(seen) == 3


async def test_refusals_of_one_moment_halve_the_number_once_and_rounds_of_answers_add_one() -> None:
    throttle = Throttle(8, patience_s=60)
    async with throttle.turn():
        for _ in range(5):
            throttle.refused(Overloaded("full", retry_after_s=1))
    assert throttle.limit == 4
    for _ in range(ROUNDS * 5):
        throttle.answered()
    assert throttle.limit == pytest.approx(5, abs=0.2)
    for _ in range(10_000):
        throttle.answered()
    assert throttle.limit == 8


async def test_nobody_goes_on_before_the_server_said() -> None:
    throttle, loop = Throttle(8, patience_s=60), asyncio.get_running_loop()
    began = loop.time()
    throttle.refused(Overloaded("full", retry_after_s=0.6))
    async with throttle.turn():
        assert loop.time() - began >= 0.6


async def test_a_refusal_is_raised_when_there_was_no_answer_for_too_long() -> None:
    throttle = Throttle(8, patience_s=0)
    async with throttle.turn():
        await asyncio.sleep(0.01)
        with pytest.raises(Overloaded):
            throttle.refused(Overloaded("full"))
