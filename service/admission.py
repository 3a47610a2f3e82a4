"""Admission: what may be inside, counted before anything is done for it, and priced in the time that it will take.

    bytes      of bodies, as they come in and until the reply; a client that trickles holds what it has sent, no more
    images     of requests that are whole, until the reply; at most three quarters of the places are for bulk
    seconds    of decoding, by what the headers say that it costs, and of inference, by what images have taken lately:
               a request that would be late is refused at once, and spends nobody's time

Refusing costs nothing. Who is refused is told when to come again: when there will be room, at the present pace.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from service.errors import Overloaded
from service.waiting import Lane

# Bounds of Retry-After: no busy loop, and no client sent away for minutes by a slow first second.
SHORTEST_WAIT_S = 1.0
LONGEST_WAIT_S = 60.0
# Of the places for images, what bulk leaves to others.
RESERVED = 4
# Of the time that a request has left, what may be planned. The pace is an estimate, and filled to the brim a queue has
# everybody in it just miss the deadline, after all the work.
PLANNED = 0.8


@dataclass(frozen=True)
class AdmissionLimits:
    """The most images, and the most bytes of bodies, that may be inside."""

    max_images: int
    max_bytes: int


@dataclass(frozen=True)
class Rates:
    """What a newcomer adds for those behind it: seconds for a unit of decoding cost, and for an image's inference.

    0 while nothing has been measured.
    """

    cost_s: float = 0.0
    image_s: float = 0.0


class Admission:
    """Counts what is inside, against what may be.

    Attributes:
        images: how many are inside, by lane.
        bytes: of bodies.
        cost: of what is not yet decoded.
    """

    def __init__(self, limits: AdmissionLimits, rates: Callable[[], Rates]) -> None:
        self.images: dict[Lane, int] = {"interactive": 0, "bulk": 0}
        self.bytes = 0
        self.cost = 0
        self._limits = limits
        self._rates = rates

    @property
    def held(self) -> int:
        """The images inside."""
        return sum(self.images.values())

    def look(self, left_s: float, lane: Lane = "interactive") -> None:
        """Raises Overloaded when not one image more would fit, or be in time: before a body is read in vain."""
        self._refuse([0], left_s, lane)

    @contextmanager
    def receive(self) -> Iterator["Receipt"]:
        """Counts the bytes of one body, until the block ends."""
        receipt = Receipt(self)
        try:
            yield receipt
        finally:
            self.bytes -= receipt.bytes

    @contextmanager
    def admit(
        self, costs: Sequence[int], left_s: float, lane: Lane = "interactive"
    ) -> Iterator["Permit"]:
        """A permit for images of decoding `costs`, to be answered within `left_s`, until the block ends.

        Raises:
            Overloaded: they do not fit, or would be late.
        """
        self._refuse(costs, left_s, lane)
        self.images[lane] += len(costs)
        permit = Permit(self, sum(costs))
        try:
            yield permit
        finally:
            self.images[lane] -= len(costs)
            permit.decoded(permit.cost)

    def take_bytes(self, count: int) -> None:
        """Counts `count` bytes more. Raises Overloaded, and counts none, when they do not fit."""
        if self.bytes + count > self._limits.max_bytes:
            raise Overloaded(
                f"{self.bytes} bytes of bodies are inside; at most {self._limits.max_bytes} may be",
                retry_after_s=_bounded(self.held * self._rates().image_s),
            )
        self.bytes += count

    def answer_s(self, costs: Sequence[int], lane: Lane) -> float:
        """Seconds until images that cost as much, and came now, would be answered."""
        rates = self._rates()
        ahead = self.held if lane == "bulk" else self.images["interactive"]
        return max(
            (self.cost + sum(costs)) * rates.cost_s,
            (ahead + len(costs)) * rates.image_s,
        )

    def _refuse(self, costs: Sequence[int], left_s: float, lane: Lane) -> None:
        capacity, count = self._limits.max_images, len(costs)
        room = capacity - self.held
        if lane == "bulk":
            room = min(room, capacity - capacity // RESERVED - self.images["bulk"])
        answer_s = self.answer_s(costs, lane)
        # With nobody inside there is nobody to wait for, and the pace is put right by those who are let in.
        late_s = answer_s - PLANNED * left_s if self.held else 0.0
        wait_s = _bounded(max(late_s, (count - room) * self._rates().image_s))
        if count > room:
            raise Overloaded(
                f"{self.held} of at most {capacity} images are inside; no room for {count} more ({lane})",
                retry_after_s=wait_s,
            )
        if late_s > 0:
            raise Overloaded(
                f"the answer would take about {answer_s:.1f} s, and there are {left_s:.1f} s for it,"
                f" of which {PLANNED:.0%} are planned",
                reason="late",
                retry_after_s=wait_s,
            )


class Receipt:
    """The bytes of one body that are inside."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self.bytes = 0

    def add(self, count: int) -> None:
        """Counts `count` bytes more. Raises Overloaded when they do not fit."""
        self._admission.take_bytes(count)
        self.bytes += count


class Permit:
    """The images of one request; `cost` is that of those not yet decoded."""

    def __init__(self, admission: Admission, cost: int) -> None:
        admission.cost += cost
        self._admission = admission
        self.cost = cost

    def decoded(self, cost: int) -> None:
        """Says that an image of that cost is decoded, or never will be."""
        cost = min(cost, self.cost)
        self._admission.cost -= cost
        self.cost -= cost


def _bounded(wait_s: float) -> float:
    return min(max(wait_s, SHORTEST_WAIT_S), LONGEST_WAIT_S)
