"""Requests with a body, as the tests of the bodies send them: to `read_images`, without a server."""

import asyncio
import json
from collections.abc import Iterable
from math import inf

from starlette.requests import Request
from starlette.types import Message

from service.admission import Admission, AdmissionLimits, Rates, Receipt
from service.detector import SentImage
from service.errors import InvalidImage
from service.http.bodies import read_images
from service.http.receiving import BodyLimits

LIMITS = BodyLimits(max_bytes=2000, max_images=3, max_regions=2)
MULTIPART = "multipart/form-data; boundary=XX"


class Sender:
    """The client's side of a request: sends `chunks`, then does what `ending` says."""

    def __init__(self, chunks: Iterable[bytes], ending: str = "end") -> None:
        self.chunks = list(chunks)
        self.ending = ending
        self.read = 0

    async def receive(self) -> Message:
        if self.read < len(self.chunks):
            self.read += 1
            return {"type": "http.request", "body": self.chunks[self.read - 1], "more_body": True}
        if self.ending == "hang":
            await asyncio.Event().wait()
        if self.ending == "gone":
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": b"", "more_body": False}


def request(sender: Sender, **headers: str) -> Request:
    raw = [(k.replace("_", "-").encode(), v.encode()) for k, v in headers.items()]
    return Request({"type": "http", "method": "POST", "headers": raw}, sender.receive)


def receipt() -> Receipt:
    """One that counts on its own."""
    return Receipt(Admission(AdmissionLimits(1, 10**9), Rates))


async def read_sent(
    content_type: str, *chunks: bytes, limits: BodyLimits = LIMITS
) -> list[SentImage]:
    return await read_images(
        request(Sender(chunks), content_type=content_type), limits, inf, receipt()
    )


async def read(content_type: str, *chunks: bytes) -> list[bytes | InvalidImage]:
    return [image.content for image in await read_sent(content_type, *chunks)]


def part(name: str, content: bytes, extra: str = '; filename="x.jpg"') -> bytes:
    header = f'--XX\r\nContent-Disposition: form-data; name="{name}"{extra}\r\n\r\n'
    return header.encode() + content + b"\r\n"


END = b"--XX--\r\n"


def json_of(*contents: str) -> bytes:
    return json.dumps({"images": [{"content": content} for content in contents]}).encode()
