import asyncio
import json
from math import inf

import pytest

from service.admission import Admission, AdmissionLimits, Rates
from service.errors import (
    ClientGone,
    DeadlineExceeded,
    InvalidBody,
    InvalidRegions,
    InvalidRequest,
    Overloaded,
    ServiceError,
    TooLarge,
    UnsupportedMediaType,
    UploadTooSlow,
)
from service.http.bodies import read_images
from service.http.receiving import BodyLimits
from tests.service.http.sending import (
    END,
    LIMITS,
    MULTIPART,
    Sender,
    json_of,
    part,
    read,
    read_sent,
    receipt,
    request,
)

pytestmark = pytest.mark.anyio


async def test_a_raw_body_is_the_image() -> None:
    assert await read("image/jpeg", b"ab", b"cd") == [b"abcd"]
    assert await read("Image/PNG; x=y", b"ab") == [b"ab"]
    assert await read("application/octet-stream", b"ab") == [b"ab"]


async def test_parts_called_images_are_the_images_in_order_and_others_are_ignored() -> None:
    body = part("images", b"one") + part("note", b"hello", "") + part("images", b"\0\r\n\xff") + END
    assert await read(MULTIPART, body) == [b"one", b"\0\r\n\xff"]


@pytest.mark.parametrize(
    ("content_type", "body", "error"),
    [
        ("image/png", b"", InvalidRequest),
        (MULTIPART, b"", InvalidRequest),
        (MULTIPART, part("photos", b"x") + END, InvalidRequest),
        (MULTIPART, part("images", b"x"), InvalidBody),  # no end
        (MULTIPART, b"nonsense", InvalidBody),
        ("multipart/form-data", part("images", b"x") + END, InvalidBody),  # no boundary
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
        await read_images(
            request(Sender([b"x"]), content_type="image/png", content_encoding="gzip"),
            LIMITS,
            inf,
            receipt(),
        )


async def test_a_declared_size_over_the_limit_is_refused_unread() -> None:
    sender = Sender([b"x"])
    with pytest.raises(TooLarge):
        await read_images(
            request(sender, content_type="image/png", content_length="2001"), LIMITS, inf, receipt()
        )
    assert sender.read == 0


async def test_a_body_without_a_size_is_read_to_the_limit_and_no_further() -> None:
    sender = Sender([b"x" * 1000] * 50)
    with pytest.raises(TooLarge):
        await read_images(request(sender, content_type="image/png"), LIMITS, inf, receipt())
    assert sender.read == 3


async def test_exactly_the_limit_is_taken() -> None:
    sender = Sender([b"x" * 2000])
    exact = request(sender, content_type="image/png", content_length="2000")
    (image,) = await read_images(exact, LIMITS, inf, receipt())
    assert image.content == b"x" * 2000


async def test_the_deadline_counts_while_the_body_is_on_its_way() -> None:
    soon = asyncio.get_running_loop().time() + 0.01
    sender = Sender([b"x"], ending="hang")
    with pytest.raises(DeadlineExceeded, match="when 1 bytes"):
        await read_images(request(sender, content_type="image/png"), LIMITS, soon, receipt())


async def test_a_body_that_comes_slower_than_the_least_rate_is_ended_before_its_deadline() -> None:
    slow = BodyLimits(2000, 3, 2, least_bytes_per_s=1000, pause_s=0.01)
    sender = Sender([b"x"], ending="hang")
    with pytest.raises(UploadTooSlow, match="when 1 bytes .* at least 1000 bytes per second"):
        await read_images(request(sender, content_type="image/png"), slow, inf, receipt())


async def test_a_body_that_comes_fast_is_not_held_to_its_pauses() -> None:
    fast = BodyLimits(2000, 3, 2, least_bytes_per_s=1, pause_s=60)
    sender = Sender([b"x" * 100] * 20)
    (image,) = await read_images(request(sender, content_type="image/png"), fast, inf, receipt())
    assert image.content == b"x" * 2000


async def test_every_byte_is_counted_as_it_comes_and_refused_where_it_does_not_fit() -> None:
    admission = Admission(AdmissionLimits(1, max_bytes=1500), Rates)
    sender = Sender([b"x" * 1000] * 2)
    with admission.receive() as counted, pytest.raises(Overloaded, match="1000 bytes of bodies"):
        await read_images(request(sender, content_type="image/png"), LIMITS, inf, counted)
    assert admission.bytes == 0


async def test_a_client_that_goes_away_while_it_sends_is_gone() -> None:
    sender = Sender([b"x"], ending="gone")
    with pytest.raises(ClientGone):
        await read_images(request(sender, content_type="image/png"), LIMITS, inf, receipt())


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
        ([[0, 0, 9, 9]] * 3, "image 1: regions: expected at most 2 of an image"),
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
