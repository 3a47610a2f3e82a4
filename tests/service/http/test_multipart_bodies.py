import base64

import pytest

from service.errors import InvalidBody, InvalidImage, InvalidRegions, InvalidRequest, TooLarge
from service.http.multipart_bodies import MOST_OTHER_PARTS
from service.http.receiving import BodyLimits
from tests.service.http.sending import END, MULTIPART, part, read, read_sent

pytestmark = pytest.mark.anyio

WIDE = BodyLimits(max_bytes=10**7, max_images=3, max_regions=2)


@pytest.mark.parametrize(("name", "reason"), [("images", "images"), ("note", "parts")])
async def test_a_body_of_very_many_parts_is_refused_before_all_are_parsed(
    name: str, reason: str
) -> None:
    cut_off = part(name, b"") * (MOST_OTHER_PARTS + 2)  # without an end: to parse it all would fail
    with pytest.raises(TooLarge) as caught:
        await read_sent(MULTIPART, cut_off, limits=WIDE)
    assert caught.value.reason == reason


async def test_a_part_needs_no_file_name() -> None:
    assert await read(MULTIPART, part("images", b"one", "") + END) == [b"one"]


async def test_an_empty_part_is_an_image_of_no_bytes() -> None:
    assert await read(MULTIPART, part("images", b"") + END) == [b""]


WHOLE = part("images", b"one") + part("images", b"two" * 9) + END


@pytest.mark.parametrize("length", range(1, len(WHOLE) - len(b"--\r\n")))
async def test_a_body_cut_off_anywhere_is_refused(length: int) -> None:
    with pytest.raises(InvalidBody):
        await read(MULTIPART, WHOLE[:length])


async def test_a_body_cut_off_inside_an_image_says_what_is_missing() -> None:
    with pytest.raises(InvalidBody, match="closing boundary is missing: expected '--XX--'"):
        await read(MULTIPART, part("images", b"one") + part("images", b"two")[:-4])


async def test_the_last_line_end_may_be_missing_and_lines_may_stand_before_and_behind() -> None:
    assert await read(MULTIPART, WHOLE.rstrip()) == [b"one", b"two" * 9]
    assert await read(MULTIPART, b"\r\n" + WHOLE + b"\r\n") == [b"one", b"two" * 9]


@pytest.mark.parametrize(
    ("content_type", "body", "said"),
    [
        ("multipart/form-data", WHOLE, "without a boundary"),
        ("multipart/form-data; boundary=", WHOLE, "without a boundary"),
        ("multipart/form-data; boundary=" + "x" * 5000, WHOLE, "without a boundary"),
        ("multipart/form-data; boundary=" + "x" * 300, WHOLE, "more than 200 bytes"),
        ("multipart/form-data; boundary=YY", WHOLE, "'YY', is not in the body"),
        (MULTIPART, WHOLE + WHOLE, "goes on behind"),
        (MULTIPART, WHOLE + b"garbage", "goes on behind"),
        (MULTIPART, b"--XX\r\n\r\nx\r\n" + END, "headers of a part"),
        (MULTIPART, b"--XX\r\nnonsense\r\n\r\nx\r\n" + END, "headers of a part"),
        (MULTIPART, b"garbage" + WHOLE, "beside a boundary"),
        (MULTIPART, b"--XX\r\n" + b"A: b\r\n" * 50 + WHOLE, "headers of a part"),
        (MULTIPART, b"--XX\r\nA: " + b"b" * 5000 + b"\r\n" + WHOLE, "headers of a part"),
        (MULTIPART, part("images", b"\r\n--XXa\r\n" * 9) + END, "beside a boundary"),
    ],
)
async def test_a_damaged_body_says_how(content_type: str, body: bytes, said: str) -> None:
    with pytest.raises(InvalidBody, match=said):
        await read_sent(content_type, body, limits=WIDE)


async def test_a_body_without_images_names_the_parts_that_it_has() -> None:
    body = part("photo", b"x") + part("", b"x") + END
    with pytest.raises(InvalidRequest, match="no part named images, but 'photo', ''"):
        await read(MULTIPART, body)


def encoded(encoding: str, content: bytes) -> bytes:
    return part("images", content).replace(
        b"\r\n\r\n", f"\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n".encode(), 1
    )


async def test_a_transfer_encoding_is_undone_or_refused_and_never_overlooked() -> None:
    body = encoded("binary", b"one") + encoded("Base64", base64.b64encode(b"two"))
    first, second, third = await read(MULTIPART, body + encoded("quoted-printable", b"=41") + END)
    assert (first, second) == (b"one", b"two")
    assert isinstance(third, InvalidImage)


@pytest.mark.parametrize(
    "regions",
    [
        b"[[" + b"[1,2,3,4]," * 100_000 + b"[1,2,3,4]]]",
        b"[[[" + b"1," * 100_000 + b"1]]]",
        b"[" + b"[]," * 100_000 + b"[]]",
        b"[" * 100_000,
        b"[[[1e999, 2, 3, 4]]]",
        b"[[[" + b"1" * 100_000 + b", 2, 3, 4]]]",
        b'[[["a", 2, 3, 4]]]',
        b"[[[1, 2, 3, 4]]",
        b"\xff",
    ],
)
async def test_regions_of_any_size_and_kind_are_refused_in_few_words(regions: bytes) -> None:
    body = part("images", b"x") + part("regions", regions, "") + END
    with pytest.raises((InvalidRequest, InvalidRegions)) as caught:
        await read_sent(MULTIPART, body, limits=WIDE)
    assert len(caught.value.detail) < 300
