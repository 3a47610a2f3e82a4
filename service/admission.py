"""Admission: a permit for every image, taken before its bytes are read and held until the reply.

Refusing costs nothing, and what is inside is bounded: images being read, decoded, waiting or
running. A request takes one permit at the door, and more once its images have been counted.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from service.errors import Overloaded

# Bounds of Retry-After: no busy loop, and no client sent away for minutes by a slow first second.
SHORTEST_WAIT_S = 1.0
LONGEST_WAIT_S = 60.0


class Admission:
    """Counts the images inside, against the most that may be. `pace` gives images per second."""

    def __init__(self, capacity: int, pace: Callable[[], float]) -> None:
        self.capacity = capacity
        self.held = 0
        self._pace = pace

    @contextmanager
    def admit(self) -> Iterator["Permit"]:
        """A permit for one image, until the block ends. Raises Overloaded when there is none."""
        permit = Permit(self)
        try:
            yield permit
        finally:
            self.held -= permit.images

    def take(self, images: int) -> None:
        """Counts `images` more. Raises Overloaded, and counts none, when they do not fit."""
        if self.held + images > self.capacity:
            raise Overloaded(
                f"{self.held} of at most {self.capacity} images are inside; no room for {images}",
                retry_after_s=self.drain_time_s(),
            )
        self.held += images

    def drain_time_s(self) -> float:
        """Seconds until what is inside has been answered, at the present pace; 1 to 60."""
        pace = self._pace()
        wait_s = self.held / pace if pace > 0 else SHORTEST_WAIT_S
        return min(max(wait_s, SHORTEST_WAIT_S), LONGEST_WAIT_S)


class Permit:
    """The images of one request that are inside."""

    def __init__(self, admission: Admission) -> None:
        admission.take(1)
        self._admission = admission
        self.images = 1

    def grow_to(self, images: int) -> None:
        """Makes it a permit for `images`, one or more. Raises Overloaded when they do not fit."""
        self._admission.take(images - self.images)
        self.images = images
