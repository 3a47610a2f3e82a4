"""What a request takes of its key's quotas."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from starlette.requests import Request

from service.detector import SentImage
from service.keys import Key
from service.metrics import Metrics
from service.pictures.header import header


@contextmanager
def spending(request: Request, images: Sequence[SentImage]) -> Iterator[None]:
    """Takes the images of a request, until the block ends without an answer for want of room.

    Raises QuotaExceeded and TooLarge as `Key.spending` does.
    """
    key: Key = request.state.key
    metrics: Metrics = request.app.state.metrics
    pixels = sum(map(_pixels, images))
    with key.spending(len(images), pixels):
        yield
    metrics.observe_spending(key.name, len(images), pixels)


def _pixels(image: SentImage) -> int:
    """By what its header says; 0 of what is no image."""
    said = header(image.content) if isinstance(image.content, bytes) else None
    return said.width * said.height if said else 0
