"""The header: format and sides as Pillow gives them, what an image costs, and no byte more than it needs."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from service.pictures.header import MOST_PARTS, SCAN_WEIGHT, WEIGHTS, Header, header
from tests.places import SHARED
from tests.service.images import encoded, noise, plain, png

PHOTOS = SHARED / "data" / "photos"
KINDS = sorted(WEIGHTS)


def cost_of(data: bytes) -> int:
    said = header(data)
    assert said is not None
    return said.cost


@pytest.mark.parametrize("kind", KINDS)
def test_every_format_that_is_read_tells_its_sides(kind: str) -> None:
    said = header(encoded(plain(37, 54, (200, 100, 50)), kind))
    assert said is not None
    assert (said.format, said.width, said.height) == (kind, 54, 37)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("WEBP", {"lossless": True}),
        ("WEBP", {"exif": b"Exif\0\0II*\0"}),  # the extended form
        ("JPEG", {"progressive": True}),
        ("JPEG", {"exif": b"Exif\0\0II*\0", "comment": b"\xff\xc0 no frame \xff\xda"}),
        ("JPEG2000", {"no_jp2": True}),
        ("TIFF", {"big_tiff": False, "compression": "tiff_lzw"}),
        ("GIF", {"save_all": True, "append_images": [plain(37, 54, (0, 0, 9))]}),
    ],
)
def test_other_forms_of_a_format_tell_their_sides(kind: str, options: dict[str, object]) -> None:
    said = header(encoded(plain(37, 54, (200, 100, 50)), kind, **options))
    assert said is not None
    assert (said.format, said.width, said.height) == (kind, 54, 37)


def photographs() -> list[str]:
    if not PHOTOS.is_dir():
        return []
    entries = json.loads((PHOTOS / "manifest.json").read_text())["files"]
    return [entry["file"] for entry in entries if entry["expect"] == "ok"]


@pytest.mark.skipif(not PHOTOS.is_dir(), reason="needs ../shared/data/photos")
@pytest.mark.parametrize("name", photographs())
def test_photographs_have_the_sides_that_pillow_gives_them(name: str) -> None:
    said = header((PHOTOS / name).read_bytes())
    with Image.open(PHOTOS / name) as image:
        assert said is not None
        # Pillow gives a TIFF's sides as they will be once it has been turned.
        same = sorted if image.format == "TIFF" else list
        assert (said.format, same((said.width, said.height))) == (image.format, same(image.size))


@given(
    st.sampled_from(KINDS),
    st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=6),
    st.integers(0, 400),
)
def test_whatever_the_bytes_say_it_answers(
    kind: str, damage: list[tuple[int, int]], length: int
) -> None:
    data = bytearray(encoded(plain(9, 14, (1, 2, 3)), kind)[:length])
    for position, value in damage:
        if position < len(data):
            data[position] = value
    said = header(bytes(data))
    assert said is None or isinstance(said, Header)


def test_what_is_no_image_has_no_header() -> None:
    assert header(b"") is None
    assert header(b"<html></html>") is None


def test_a_jpeg_of_nothing_but_segments_is_given_up() -> None:
    assert header(b"\xff\xd8" + b"\xff\xfe\0\x02" * (MOST_PARTS + 1)) is None


def test_a_jpeg_of_two_sizes_has_none() -> None:
    data = encoded(plain(37, 54, (1, 2, 3)), "JPEG")
    at = data.index(b"\xff\xc0")
    frame = data[at : at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")]
    assert header(data[:at] + frame.replace(b"\0\x25", b"\x25\0") + data[at:]) is None


def test_a_pixel_costs_more_in_a_format_that_takes_longer() -> None:
    image = plain(100, 150, (7, 8, 9))
    costs = {kind: cost_of(encoded(image, kind)) for kind in KINDS}
    assert costs["JPEG"] < costs["PNG"] < costs["JPEG2000"]


def test_rows_and_columns_cost_too() -> None:
    square, tall, wide = (cost_of(png(*size)) for size in ((100, 100), (10_000, 1), (1, 10_000)))
    assert square < tall == wide


def test_every_scan_of_a_jpeg_costs_a_pass_over_it() -> None:
    image = Image.fromarray(noise(80, 120))
    baseline, progressive = encoded(image, "JPEG"), encoded(image, "JPEG", progressive=True)
    more = progressive.count(b"\xff\xda") - 1
    assert more >= 1
    expected = cost_of(baseline) + SCAN_WEIGHT * more * 80 * 120
    assert cost_of(progressive) == pytest.approx(expected)


def test_a_scan_of_each_component_costs_as_much_as_another_of_all() -> None:
    image = encoded(Image.fromarray(noise(80, 120)), "JPEG")
    scan = image.index(b"\xff\xda")
    of_one = b"\xff\xda\0\x08\1\1\0\0\x3f\0" + b"\x55" * 9
    apart = image[:scan] + of_one * 3 + b"\xff\xd9"
    assert cost_of(apart) - cost_of(image) == pytest.approx(SCAN_WEIGHT * 2 * 80 * 120)


def test_bytes_that_only_look_like_a_scan_cost_nothing() -> None:
    image = Image.fromarray(noise(80, 120))
    thumbnail = encoded(image, "JPEG", comment=b"\xff\xda" * 40)
    assert cost_of(thumbnail) == cost_of(encoded(image, "JPEG"))


def test_the_order_of_a_tiffs_bytes_does_not_matter() -> None:
    entries = [(256, 4, 54), (257, 3, 37)]
    little = b"II*\0\x08\0\0\0" + len(entries).to_bytes(2, "little")
    big = b"MM\0*\0\0\0\x08" + len(entries).to_bytes(2, "big")
    for tag, kind, value in entries:
        little += b"".join(n.to_bytes(size, "little") for n, size in ((tag, 2), (kind, 2), (1, 4)))
        little += value.to_bytes(4, "little")
        big += b"".join(n.to_bytes(size, "big") for n, size in ((tag, 2), (kind, 2), (1, 4)))
        big += value.to_bytes(4, "big") if kind == 4 else value.to_bytes(2, "big") + b"\0\0"
    assert header(little) == header(big) == Header("TIFF", 54, 37, 4 * 54 * 37 + 8 * (54 + 37))
