"""How many requests go on at once: as many as may, until the server refuses one.

Then all wait as long as it says, and half as many go on after that; sixteen rounds of answers allow one more. It is how
TCP finds what a line carries, and a server that is full for others, too, gets room.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from service.errors import ServiceError

LEAST_WAIT_S = 0.5
# A refusal costs everybody a second or more: what is gained by one more at once must have been worth it by then.
ROUNDS = 16


class Throttle:
    """At most `most` at once. Must be used in one event loop."""

    def __init__(self, most: int, patience_s: float) -> None:
        """`patience_s` is how long it may go on without one answer."""
        self.limit = float(most)
        self._most = most
        self._patience_s = patience_s
        self._inside = 0
        self._changed = asyncio.Condition()
        self._again_at = 0.0
        self._answered_at: float | None = None

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Waits until one more may go on, which it does until the block ends."""
        async with self._changed:
            self._answered_at = self._answered_at or self._now()
            while (wait_s := self._again_at - self._now()) > 0 or self._inside >= int(self.limit):
                try:
                    async with asyncio.timeout(wait_s if wait_s > 0 else None):
                        await self._changed.wait()
                except TimeoutError:
                    pass
            self._inside += 1
        try:
            yield
        finally:
            async with self._changed:
                self._inside -= 1
                self._changed.notify_all()

    def answered(self) -> None:
        """Notes an answer."""
        self._answered_at = self._now()
        self.limit = min(self._most, self.limit + 1 / (ROUNDS * self.limit))

    def refused(self, refusal: ServiceError) -> None:
        """Notes a refusal; raises it when patience is over."""
        now = self._now()
        if now - (self._answered_at or now) > self._patience_s:
            raise refusal
        # Of those that were sent together one counts.
        if now >= self._again_at:
            self.limit = max(1.0, self.limit / 2)
        self._again_at = max(self._again_at, now + max(LEAST_WAIT_S, refusal.retry_after_s or 0.0))

    def _now(self) -> float:
        return asyncio.get_running_loop().time()
