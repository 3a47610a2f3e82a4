"""The open connections of the server: how many there may be, which makes room for another, which has taken too long.

A connection is idle while no request is inside it, whether it has sent nothing, or a part of its headers,
or waits after an answer. When all places are taken the one that has been idle longest is closed. When
none is idle, a few more are let in for those who ask for the server's health, and nothing else.
"""

import asyncio
import logging
from dataclasses import dataclass
from math import inf
from typing import Protocol

from service.metrics import Metrics
from service.settings import HEALTH_PLACES

log = logging.getLogger(__name__)

# How often connections are looked at; a limit of time is kept to within this.
LOOK_S = 0.2


@dataclass(frozen=True)
class ConnectionLimits:
    """What a connection may take.

    Attributes:
        max_connections: how many are open, but for those that ask for the server's health.
        max_header_bytes: bytes of a request's line and headers, or of what follows a body.
        header_s: seconds until the headers are there, from the first byte, or from the opening.
        keep_alive_s: seconds that a connection waits for the next request.
        linger_s: seconds to take an answer, or to send the rest of a body that was refused.
    """

    max_connections: int
    max_header_bytes: int
    header_s: float
    keep_alive_s: float
    linger_s: float


class Connection(Protocol):
    """What is asked of a connection."""

    expires: float

    def expire(self) -> None:
        """Ends what has taken too long."""

    def drop(self) -> None:
        """Closes it at once, with what has not been sent."""


class Connections:
    """All connections, and what they may take."""

    def __init__(self, limits: ConnectionLimits, metrics: Metrics) -> None:
        self.limits = limits
        self._metrics = metrics
        self._open: set[Connection] = set()
        # In the order in which they became idle.
        self._idle: dict[Connection, None] = {}
        self._for_health: set[Connection] = set()

    def opened(self, connection: Connection) -> None:
        """Takes in a new connection, and closes another, or this one, when there is no room."""
        self._open.add(connection)
        if len(self._open) > self.limits.max_connections:
            self._make_room(connection)
        if connection in self._open:
            self.idle(connection, self.limits.header_s)

    def closed(self, connection: Connection) -> None:
        """Forgets a connection."""
        self._open.discard(connection)
        self._idle.pop(connection, None)
        self._for_health.discard(connection)

    def idle(self, connection: Connection, seconds: float) -> None:
        """No request is inside `connection`, which is given `seconds` for the next."""
        self._idle.pop(connection, None)
        self._idle[connection] = None
        self.expire_in(connection, seconds)

    def busy(self, connection: Connection) -> None:
        """A request is inside `connection`: its own limits hold."""
        self._idle.pop(connection, None)
        connection.expires = inf

    def expire_in(self, connection: Connection, seconds: float) -> None:
        """Gives `connection` `seconds` for what it does."""
        connection.expires = asyncio.get_running_loop().time() + seconds

    def is_for_health(self, connection: Connection) -> bool:
        """Whether `connection` came when all places were taken, and they still are."""
        if len(self._open) <= self.limits.max_connections:
            self._for_health.discard(connection)
        return connection in self._for_health

    def refused(self, code: int, detail: str, client: str) -> None:
        """Counts and logs what was refused before it was a request."""
        self._metrics.requests.labels("unmatched", str(code)).inc()
        fields = {"code": code, "detail": detail, "client": client}
        log.info("no request", extra={"fields": fields})

    def expire(self, now: float) -> None:
        """Ends what has taken too long at `now`, in the event loop's time."""
        for connection in [each for each in self._open if each.expires <= now]:
            connection.expire()

    async def watch(self) -> None:
        """Ends what has taken too long, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(LOOK_S)
            self.expire(loop.time())

    def _make_room(self, newest: Connection) -> None:
        longest_idle = next(iter(self._idle), None)
        if longest_idle is not None:
            self.closed(longest_idle)
            longest_idle.drop()
        elif len(self._open) <= self.limits.max_connections + HEALTH_PLACES:
            self._for_health.add(newest)
        else:
            self.closed(newest)
            newest.drop()
