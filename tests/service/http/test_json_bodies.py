import base64
import json

import pytest
from fastapi.exceptions import RequestValidationError

from service.errors import InvalidBody, InvalidImage, InvalidRegions, TooLarge
from service.http.receiving import BodyLimits
from tests.service.http.sending import json_of, read, read_sent

pytestmark = pytest.mark.anyio

JSON = "application/json"
WIDE = BodyLimits(max_bytes=10**7, max_images=3, max_regions=2)


async def test_json_holds_images_in_base64_and_line_ends_do_not_matter() -> None:
    one = base64.encodebytes(b"\0" * 100).decode()
    assert await read("application/json; charset=utf-8", json_of(one, "YWI=")) == [
        b"\0" * 100,
        b"ab",
    ]


BYTES = bytes(range(256)) + b"\xfb\xef\xbe"
STANDARD = base64.b64encode(BYTES).decode()


@pytest.mark.parametrize(
    "content",
    [
        STANDARD,
        base64.urlsafe_b64encode(BYTES).decode(),
        STANDARD.rstrip("="),
        f"data:image/png;base64,{STANDARD}",
        f"DATA:image/svg+xml;charset=x;BASE64,{STANDARD.rstrip('=')}\n",
        f"data:;base64,{base64.urlsafe_b64encode(BYTES).decode()}",
        " ".join(STANDARD),
    ],
)
async def test_base64_is_taken_in_every_usual_form(content: str) -> None:
    assert await read_sent(JSON, json_of(content), limits=WIDE) != []
    (image,) = await read(JSON, json_of(content))
    assert image == BYTES


@pytest.mark.parametrize(
    "content",
    ["Y", "YWIYW", "!!!!", "é", "YWI=YWI=", "data:image/png,YWI=", "data:;base64", "ＹＷＩ="],
)
async def test_what_is_not_base64_fails_in_its_own_place(content: str) -> None:
    bad, good = await read(JSON, json_of(content, "YWI="))
    assert isinstance(bad, InvalidImage)
    assert good == b"ab"


@pytest.mark.parametrize(
    ("body", "where"),
    [
        (b"[]", ("body",)),
        (b"{}", ("body", "images")),
        (b'{"images": "x"}', ("body", "images")),
        (b'{"images": [[]]}', ("body", "images", 0)),
        (b'{"images": [{}]}', ("body", "images", 0, "content")),
        (b'{"images": [{"content": 7}]}', ("body", "images", 0, "content")),
        (b'{"images": [{"content": "", "regions": 7}]}', ("body", "images", 0, "regions")),
        (
            b'{"images": [{"content": "", "regions": [[1, "x"]]}]}',
            ("body", "images", 0, "regions", 0, 1),
        ),
    ],
)
async def test_json_of_another_shape_says_where(body: bytes, where: tuple[object, ...]) -> None:
    with pytest.raises(RequestValidationError) as caught:
        await read(JSON, body)
    assert caught.value.errors()[0]["loc"] == where


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b'{"images": [{"content": "YWI=',
        json_of("YWI=") + b"garbage",
        json_of("YWI=") + json_of("YWI="),
        json_of("YWI=")[:-1],
        b"[" * 10_000,
        b'{"images": ' + b"1" * 10_000 + b"}",
        b'{"images": [{"content": "\xff"}]}',
        b'{"images": [{"content": "\\ud800"}]}',
    ],
)
async def test_what_is_not_json_from_beginning_to_end_is_damaged(body: bytes) -> None:
    with pytest.raises(InvalidBody, match="not JSON"):
        await read_sent(JSON, body, limits=WIDE)


async def test_a_byte_order_mark_is_no_part_of_the_json() -> None:
    assert await read(JSON, b"\xef\xbb\xbf" + json_of("YWI=")) == [b"ab"]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be"])
async def test_json_in_another_encoding_is_told_which_is_expected(encoding: str) -> None:
    with pytest.raises(InvalidBody, match="expected UTF-8"):
        await read(JSON, json_of("YWI=").decode().encode(encoding))


MANY = 200_000
EMPTY = b'{"content": ""}'


async def test_very_many_wrong_entries_are_named_no_further_than_can_be_read() -> None:
    body = b'{"images": [' + b"1, " * MANY + b"1]}"
    with pytest.raises(RequestValidationError) as caught:
        await read_sent(JSON, body, limits=WIDE)
    assert len(caught.value.errors()) <= 10
    assert caught.value.errors()[0]["loc"] == ("body", "images", 0)


@pytest.mark.parametrize("count", [4, MANY])
async def test_the_first_image_past_the_limit_refuses_them_all(count: int) -> None:
    body = b'{"images": [' + b", ".join([EMPTY] * count)  # cut off: to parse it all would fail
    with pytest.raises(TooLarge) as caught:
        await read_sent(JSON, body + b"]}" * (count == 4), limits=WIDE)
    assert caught.value.reason == "images"


@pytest.mark.parametrize(
    "body",
    [
        b'{"images": [' + EMPTY + b'], "more": [' + b"1," * MANY + b"1]}",
        b'{"more": [' + b"[[[[]]]]," * MANY + b'1], "images": []}',
        b'{"more": [' + b"{}," * MANY,
        b"{" + b",".join(b'"%d": 1' % number for number in range(MANY)) + b"}",
        b'{"images": [{"content": "' + rb"\/" * 1_000_001 + b'"}]}',
    ],
)
async def test_very_many_values_of_other_kinds_are_refused_unparsed(body: bytes) -> None:
    with pytest.raises(TooLarge) as caught:
        await read_sent(JSON, body, limits=WIDE)
    assert caught.value.reason == "values"


@pytest.mark.parametrize(
    ("regions", "said"),
    [
        (b"[1, 2, 3, 4], " * MANY + b"[1, 2, 3, 4]", "image 0: regions: expected at most 2"),
        (b"1, " * MANY + b"1", "image 0: regions: expected at most 2"),
        (b"[" + b"1, " * MANY + b"1]", r"number 0 is a list of \d+"),
    ],
)
async def test_very_many_regions_are_refused_in_few_words(regions: bytes, said: str) -> None:
    body = b'{"images": [{"content": "", "regions": [' + regions + b"]}]}"
    with pytest.raises(InvalidRegions, match=said) as caught:
        await read_sent(JSON, body, limits=WIDE)
    assert len(caught.value.detail) < 300


async def test_of_a_key_that_comes_twice_the_last_counts() -> None:
    body = b'{"images": [], "images": [{"content": "YQ==", "content": "YWI="}]}'
    assert await read(JSON, body) == [b"ab"]


async def test_an_image_may_have_as_many_regions_as_the_limit_says() -> None:
    body = {"images": [{"content": "YWI=", "regions": [[0, 0, 1, 1]] * 2}] * 3, "other": {"a": 1}}
    images = await read(JSON, json.dumps(body).encode())
    assert images == [b"ab"] * 3
