"""What a request takes of its key's quotas."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from starlette.requests import Request

from service.detector import SentImage
from service.keys import Key
from service.metrics import Metrics
from service.pictures.framing import Rule
from service.pictures.header import header
from service.pictures.tiling import Tiles, costs_of


@contextmanager
def spending(
    request: Request, images: Sequence[SentImage], rule: Rule, tiles: Tiles = "off"
) -> Iterator[None]:
    """Takes the images of a request, each tile as one more, unless the block ends without an answer for want of room.

    Raises QuotaExceeded and TooLarge as `Key.spending` does.
    """
    key: Key = request.state.key
    metrics: Metrics = request.app.state.metrics
    most: int = request.app.state.settings.max_pixels
    pixels = sum(map(_pixels, images))
    count = sum(
        len(costs_of(image.content, most, rule, tiles)) if isinstance(image.content, bytes) else 1
        for image in images
    )
    with key.spending(count, pixels):
        yield
    metrics.observe_spending(key.name, count, pixels)


def _pixels(image: SentImage) -> int:
    """By what its header says; 0 of what is no image."""
    said = header(image.content) if isinstance(image.content, bytes) else None
    return said.width * said.height if said else 0
