"""What clients send in a bad hour: photographs of mixed sizes, damaged ones, slow uploads, and some who hang up.

Everything is drawn from one seed. A request says by when it wants its answer (`timeout_s`) and whether it is bulk.
"""

import io
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from PIL import Image

Kind = Literal["interactive", "bulk", "large", "damaged", "slow", "hang-up"]
# Parts of a hundred.
SHARES: dict[Kind, int] = {
    "interactive": 50,
    "bulk": 22,
    "large": 3,
    "damaged": 10,
    "hang-up": 10,
    "slow": 5,
}
LARGE_SHORT_SIDE = 3000


@dataclass(frozen=True)
class Sent:
    """A request: its kind, the bytes of it, and in how many pieces, so many seconds apart, they are sent."""

    kind: Kind
    request: bytes
    pieces: int = 1
    apart_s: float = 0.0


class Mix:
    """Draws requests, from `photographs` that are JPEGs."""

    def __init__(self, photographs: Sequence[bytes], timeout_s: float, seed: int) -> None:
        self._draws = random.Random(seed)
        self._photographs = photographs
        self._large = [enlarged(each, LARGE_SHORT_SIDE) for each in photographs[:3]]
        self._timeout_s = timeout_s

    def draw(self) -> Sent:
        """The next request."""
        (kind,) = self._draws.choices(list(SHARES), list(SHARES.values()))
        body = self._draws.choice(self._large if kind == "large" else self._photographs)
        if kind == "damaged":
            body = self._damaged(body)
        priority = "bulk" if kind == "bulk" else "interactive"
        request = detect_request(body, self._timeout_s, priority)
        if kind == "slow":
            return Sent(kind, request, 12, self._draws.uniform(0.05, 0.6))
        return Sent(kind, request)

    def good(self) -> bytes:
        """A request that is answered, of a size that most have."""
        return detect_request(self._draws.choice(self._photographs), self._timeout_s, "interactive")

    def _damaged(self, body: bytes) -> bytes:
        if self._draws.random() < 0.5:
            return body[: len(body) // self._draws.randint(2, 9)]
        return self._draws.randbytes(self._draws.randint(1, 20_000))


def detect_request(body: bytes, timeout_s: float, priority: str) -> bytes:
    """The bytes of a POST to /detect with one image."""
    head = (
        f"POST /detect?timeout_s={timeout_s:g}&priority={priority} HTTP/1.1\r\nHost: localhost\r\n"
        f"Content-Type: image/jpeg\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def enlarged(jpeg: bytes, short_side: int) -> bytes:
    """The photograph with that shorter side, as a JPEG."""
    image, file = Image.open(io.BytesIO(jpeg)), io.BytesIO()
    scale = short_side / min(image.size)
    size = (round(image.width * scale), round(image.height * scale))
    image.resize(size, Image.Resampling.BILINEAR).save(file, "JPEG", quality=85)
    return file.getvalue()
