"""A client of the standard library alone, and a photograph to send."""

import json
import struct
import urllib.error
import urllib.request
import zlib
from dataclasses import dataclass
from typing import Any

TIMEOUT_S = 60


@dataclass(frozen=True)
class Reply:
    """An HTTP reply: its status, its media type and its body."""

    status: int
    media_type: str
    body: bytes

    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)


def request(url: str, body: bytes | None = None, media_type: str = "") -> Reply:
    """The reply to a GET, or to a POST of `body`; an error status is a reply too."""
    headers = {"Content-Type": media_type} if media_type else {}
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        asked = urllib.request.Request(url, body, headers)
        with direct.open(asked, timeout=TIMEOUT_S) as reply:
            return Reply(reply.status, reply.headers.get_content_type(), reply.read())
    except urllib.error.HTTPError as error:
        with error:
            return Reply(error.code, error.headers.get_content_type(), error.read())


def png(height: int, width: int) -> bytes:
    """A PNG file of height x width pixels: a bright disc on a ground under a sky, both graded."""
    rows = bytearray()
    for y in range(height):
        # The row's filter: none.
        rows.append(0)
        for x in range(width):
            if (x - width / 3) ** 2 + (y - height / 2) ** 2 < (height / 4) ** 2:
                rows += bytes((230, 200 - x % 40, 60))
            elif y < height / 2:
                rows += bytes((90, 140, 255 - y))
            else:
                rows += bytes((40 + y % 50, 110, 40))
    # bit depth 8, colour type 2 (RGB), and the only compression, filter and interlace: none
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(rows))), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
