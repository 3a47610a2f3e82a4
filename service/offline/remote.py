"""Sources through a server: several requests at once, as many as it takes; the outcomes in the order of the sources."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass

from service.errors import (
    DecodingFailed,
    InferenceFailed,
    InvalidBody,
    InvalidImage,
    ServiceError,
    TooLarge,
    UnsupportedMediaType,
    UploadTooSlow,
)
from service.offline.answers import Asked, UnexpectedAnswer
from service.offline.client import PASSING, AsyncClient
from service.offline.outcome import Outcome
from service.offline.sources import Source
from service.offline.throttle import Throttle

# What is the photograph's own fault; anything else would be said of every other one, too.
OWN_FAULTS = (
    DecodingFailed,
    InferenceFailed,
    InvalidBody,
    InvalidImage,
    TooLarge,
    UnsupportedMediaType,
    UploadTooSlow,
)
# Of an error that is the server's own, or of a deadline: the same photograph may be answered next time.
ATTEMPTS = 3
# Outcomes that are kept until those before them are there, for each request that may go on.
AHEAD = 4


@dataclass(frozen=True)
class Remote:
    """A server, and how it is asked.

    Attributes:
        concurrency: the most requests at once.
        patience_s: how long to go on while it answers nothing.
    """

    client: AsyncClient
    asked: Asked
    concurrency: int
    patience_s: float

    async def outcomes(self, sources: Iterator[Source]) -> AsyncGenerator[Outcome, None]:
        """What becomes of each source, in order. `client` has no patience of its own.

        Raises:
            ServiceError: the server takes none, or has answered nothing for too long.
        """
        throttle = Throttle(self.concurrency, self.patience_s)
        waiting: deque[asyncio.Task[Outcome]] = deque()
        pull: asyncio.Task[Source | None] | None = None
        is_over = False
        try:
            while waiting or not is_over:
                if pull is None and not is_over and len(waiting) < AHEAD * self.concurrency:
                    # In a thread: it may be a list on standard input, or a video.
                    pull = asyncio.create_task(asyncio.to_thread(next, sources, None))
                first = [each for each in (pull, *waiting) if each is not None][:2]
                await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
                if pull is not None and pull.done():
                    source, pull = pull.result(), None
                    is_over = source is None
                    if source is not None:
                        waiting.append(asyncio.create_task(self._outcome(source, throttle)))
                if waiting and waiting[0].done():
                    yield waiting.popleft().result()
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

    async def _outcome(self, source: Source, throttle: Throttle) -> Outcome:
        attempts = 0
        while True:
            async with throttle.turn():
                try:
                    data = await asyncio.to_thread(source.load)
                    found = await self.client.detect(data, self.asked)
                except OSError as error:
                    return Outcome(source, error=error.strerror or str(error))
                except ValueError as error:
                    return Outcome(source, error=str(error))
                except OWN_FAULTS as error:
                    throttle.answered()
                    return Outcome(source, error=error.detail)
                except ServiceError as error:
                    attempts += _is_an_attempt(error)
                    if attempts == ATTEMPTS:
                        return Outcome(source, error=error.detail)
                    if not isinstance(error, PASSING) and not _is_an_attempt(error):
                        raise
                    throttle.refused(error)
                else:
                    throttle.answered()
                    return Outcome(source, found)


def _is_an_attempt(error: ServiceError) -> bool:
    """Whether it may be of this photograph: it is not asked for again for ever."""
    internal = isinstance(error, UnexpectedAnswer) and error.status >= 500
    return internal or error.reason == "deadline"
