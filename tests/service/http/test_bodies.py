import asyncio
import base64
import json
from collections.abc import Iterable
from math import inf

import pytest
from fastapi.exceptions import RequestValidationError
from starlette.requests import Request
from starlette.types import Message

from service.detector import SentImage
from service.errors import (
    ClientGone,
    DeadlineExceeded,
    InvalidImage,
    InvalidRegions,
    InvalidRequest,
    ServiceError,
    TooLarge,
    UnsupportedMediaType,
)
from service.http.bodies import MOST_OTHER_PARTS, BodyLimits, read_images

pytestmark = pytest.mark.anyio

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


async def read_sent(content_type: str, *chunks: bytes, **headers: str) -> list[SentImage]:
    return await read_images(
        request(Sender(chunks), content_type=content_type, **headers), LIMITS, inf
    )


async def read(content_type: str, *chunks: bytes, **headers: str) -> list[bytes | InvalidImage]:
    return [image.content for image in await read_sent(content_type, *chunks, **headers)]


def part(name: str, content: bytes, extra: str = '; filename="x.jpg"') -> bytes:
    header = f'--XX\r\nContent-Disposition: form-data; name="{name}"{extra}\r\n\r\n'
    return header.encode() + content + b"\r\n"


END = b"--XX--\r\n"


def json_of(*contents: str) -> bytes:
    return json.dumps({"images": [{"content": content} for content in contents]}).encode()


async def test_a_raw_body_is_the_image() -> None:
    assert await read("image/jpeg", b"ab", b"cd") == [b"abcd"]
    assert await read("Image/PNG; x=y", b"ab") == [b"ab"]
    assert await read("application/octet-stream", b"ab") == [b"ab"]


async def test_parts_called_images_are_the_images_in_order_and_others_are_ignored() -> None:
    body = part("images", b"one") + part("note", b"hello", "") + part("images", b"\0\r\n\xff") + END
    assert await read(MULTIPART, body) == [b"one", b"\0\r\n\xff"]


@pytest.mark.parametrize(("name", "reason"), [("images", "images"), ("note", "parts")])
async def test_a_body_of_very_many_parts_is_refused_before_all_are_parsed(
    name: str, reason: str
) -> None:
    cut_off = part(name, b"") * (MOST_OTHER_PARTS + 2)  # without an end: to parse it all would fail
    with pytest.raises(TooLarge) as caught:
        await read_images(
            request(Sender([cut_off]), content_type=MULTIPART), BodyLimits(10**5, 3, 2), inf
        )
    assert caught.value.reason == reason


async def test_a_part_needs_no_file_name() -> None:
    assert await read(MULTIPART, part("images", b"one", "") + END) == [b"one"]


async def test_an_empty_part_is_an_image_of_no_bytes() -> None:
    assert await read(MULTIPART, part("images", b"") + END) == [b""]


async def test_json_holds_images_in_base64_and_line_ends_do_not_matter() -> None:
    one = base64.encodebytes(b"\0" * 100).decode()
    assert await read("application/json; charset=utf-8", json_of(one, "YWI=")) == [
        b"\0" * 100,
        b"ab",
    ]


@pytest.mark.parametrize("content", ["YQ", "!!!!", "é", "YWI=YWI=", "data:image/png;base64,YWI="])
async def test_what_is_not_base64_fails_in_its_own_place(content: str) -> None:
    bad, good = await read("application/json", json_of(content, "YWI="))
    assert isinstance(bad, InvalidImage)
    assert good == b"ab"


@pytest.mark.parametrize(
    ("body", "where"),
    [
        (b"{", ("body",)),
        (b"[]", ("body",)),
        (b'{"images": "x"}', ("body", "images")),
        (b'{"images": [{}]}', ("body", "images", 0, "content")),
        (b'{"images": [{"content": 7}]}', ("body", "images", 0, "content")),
    ],
)
async def test_json_of_another_shape_says_where(body: bytes, where: tuple[object, ...]) -> None:
    with pytest.raises(RequestValidationError) as caught:
        await read("application/json", body)
    assert caught.value.errors()[0]["loc"] == where


@pytest.mark.parametrize(
    ("content_type", "body", "error"),
    [
        ("image/png", b"", InvalidRequest),
        (MULTIPART, b"", InvalidRequest),
        (MULTIPART, part("photos", b"x") + END, InvalidRequest),
        (MULTIPART, part("images", b"x"), InvalidRequest),  # no end
        (MULTIPART, b"nonsense", InvalidRequest),
        ("multipart/form-data", part("images", b"x") + END, InvalidRequest),  # no boundary
        ("application/json", b'{"images": []}', InvalidRequest),
        ("", b"x", UnsupportedMediaType),
        ("text/plain", b"x", UnsupportedMediaType),
        ("application/x-www-form-urlencoded", b"x", UnsupportedMediaType),
        ("application/json", json_of("", "", "", ""), TooLarge),
        (MULTIPART, part("images", b"x") * 4 + END, TooLarge),
    ],
)
async def test_what_is_not_taken_says_so(
    content_type: str, body: bytes, error: type[ServiceError]
) -> None:
    with pytest.raises(error):
        await read(content_type, body)


async def test_a_compressed_body_is_not_taken() -> None:
    with pytest.raises(UnsupportedMediaType, match="gzip"):
        await read("image/png", b"x", content_encoding="gzip")


async def test_a_declared_size_over_the_limit_is_refused_unread() -> None:
    sender = Sender([b"x"])
    with pytest.raises(TooLarge):
        await read_images(
            request(sender, content_type="image/png", content_length="2001"), LIMITS, inf
        )
    assert sender.read == 0


async def test_a_body_without_a_size_is_read_to_the_limit_and_no_further() -> None:
    sender = Sender([b"x" * 1000] * 50)
    with pytest.raises(TooLarge):
        await read_images(request(sender, content_type="image/png"), LIMITS, inf)
    assert sender.read == 3


async def test_exactly_the_limit_is_taken() -> None:
    assert await read("image/png", b"x" * 2000, content_length="2000") == [b"x" * 2000]


async def test_the_deadline_counts_while_the_body_is_on_its_way() -> None:
    soon = asyncio.get_running_loop().time() + 0.01
    sender = Sender([b"x"], ending="hang")
    with pytest.raises(DeadlineExceeded, match="when 1 bytes"):
        await read_images(request(sender, content_type="image/png"), LIMITS, soon)


async def test_a_client_that_goes_away_while_it_sends_is_gone() -> None:
    sender = Sender([b"x"], ending="gone")
    with pytest.raises(ClientGone):
        await read_images(request(sender, content_type="image/png"), LIMITS, inf)


BOXES = [[[1, 2, 30.5, 20]], [], [[0, 0, 5, 5], [1, 1, 2, 3]]]


def json_with(*regions: object) -> bytes:
    return json.dumps({"images": [{"content": "YWI=", "regions": own} for own in regions]}).encode()


def parts_with(regions: object, images: int = 3) -> bytes:
    return part("images", b"ab") * images + part("regions", json.dumps(regions).encode(), "") + END


async def test_regions_come_with_their_images_in_json_and_in_a_part() -> None:
    for kind, body in (("application/json", json_with(*BOXES)), (MULTIPART, parts_with(BOXES))):
        images = await read_sent(kind, body)
        assert [image.regions.tolist() for image in images] == BOXES


@pytest.mark.parametrize(
    ("boxes", "said"),
    [
        (
            [[1, 2, 3]],
            "image 1: regions: expected four finite numbers, number 0 is [1.0, 2.0, 3.0]",
        ),
        (
            [[0, 0, 9, 9], [0, 0, float("nan"), 9]],
            "image 1: regions: expected four finite numbers, number 1",
        ),
        (
            [[5, 5, 5, 9]],
            "image 1: regions: expected x1 < x2 and y1 < y2, number 0 is [5.0, 5.0, 5.0, 9.0]",
        ),
        ([[0, 0, 9, 9]] * 3, "image 1: regions: expected at most 2 of an image, got 3"),
    ],
)
async def test_a_region_that_is_no_box_is_named(boxes: object, said: str) -> None:
    for kind, body in (
        ("application/json", json_with([], boxes)),
        (MULTIPART, parts_with([[], boxes], images=2)),
    ):
        with pytest.raises(InvalidRegions) as caught:
            await read(kind, body)
        assert caught.value.detail.startswith(said)


@pytest.mark.parametrize(
    ("regions", "said"),
    [
        ([[]], "for each of 3 images, got 1 lists"),
        ([1, 2, 3], "expected JSON"),
        ("x", "expected JSON"),
    ],
)
async def test_a_part_of_regions_has_a_list_for_each_image(regions: object, said: str) -> None:
    with pytest.raises(InvalidRequest, match=said):
        await read(MULTIPART, parts_with(regions))
