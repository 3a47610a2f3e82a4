import asyncio

import pytest
from starlette.types import Message

from service.errors import ClientGone
from service.http.disconnect import unless_disconnected

pytestmark = pytest.mark.anyio


class Connection:
    """A client that goes away when told to."""

    def __init__(self) -> None:
        self._gone = asyncio.Event()

    async def receive(self) -> Message:
        await self._gone.wait()
        return {"type": "http.disconnect"}

    def close(self) -> None:
        self._gone.set()


async def test_work_that_ends_first_gives_its_result() -> None:
    assert await unless_disconnected(Connection().receive, asyncio.sleep(0, "done")) == "done"


async def test_an_error_of_the_work_is_the_callers() -> None:
    async def fail() -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        await unless_disconnected(Connection().receive, fail())


async def test_work_is_cancelled_when_the_client_goes() -> None:
    connection, cancelled = Connection(), asyncio.Event()

    async def work() -> None:
        connection.close()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    with pytest.raises(ClientGone):
        await unless_disconnected(connection.receive, work())
    assert cancelled.is_set()


async def test_nothing_is_left_running_when_the_caller_is_cancelled() -> None:
    before = asyncio.all_tasks()
    waiting = asyncio.create_task(
        unless_disconnected(Connection().receive, asyncio.sleep(3600, None))
    )
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert asyncio.all_tasks() == before
