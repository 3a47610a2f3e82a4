"""JPEGs without their end marker: taken when every pixel is there, refused when any is missing."""

import numpy as np
import pytest
from PIL import Image

from service.errors import InvalidImage
from service.pictures.decoding import decode_image
from tests.service.images import encoded, noise, plain

MAX_PIXELS = 50_000_000
PICTURES = {
    "noise": Image.fromarray(noise(45, 70)),
    "even": plain(45, 70, (128, 128, 128)),
    "grey": Image.fromarray(noise(45, 70)).convert("L"),
    "print": Image.fromarray(noise(45, 70)).convert("CMYK"),
}
FORMS: dict[str, dict[str, object]] = {
    "as usual": {},
    "own codes": {"optimize": True},
    "full colour": {"subsampling": 0, "quality": 100},
    "restarts": {"restart_marker_rows": 1},
    "restarts in a row": {"restart_marker_blocks": 2},
}


def taken(data: bytes) -> Image.Image | None:
    """The image, or None when it is refused."""
    try:
        return decode_image(data, MAX_PIXELS)
    except InvalidImage:
        return None


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("picture", PICTURES)
def test_a_jpeg_that_lacks_only_its_end_marker_has_all_its_pixels(picture: str, form: str) -> None:
    data = encoded(PICTURES[picture], "JPEG", **FORMS[form])
    whole = np.asarray(decode_image(data, MAX_PIXELS))
    for missing in (1, 2):
        np.testing.assert_array_equal(decode_image(data[:-missing], MAX_PIXELS), whole)


@pytest.mark.parametrize("form", FORMS)
def test_a_jpeg_that_lacks_pixels_too_is_refused(form: str) -> None:
    data = encoded(PICTURES["noise"], "JPEG", **FORMS[form])
    whole = decode_image(data, MAX_PIXELS)
    for missing in range(3, 150):
        image = taken(data[:-missing])
        # The last bytes may hold nothing but padding, and what lies outside the image.
        assert image is None or image == whole


@pytest.mark.parametrize("intervals", [1, 2, 9])
def test_a_jpeg_that_lacks_whole_restart_intervals_is_refused(intervals: int) -> None:
    data = encoded(PICTURES["noise"], "JPEG", restart_marker_blocks=1)
    for _ in range(intervals):
        data = data[: max(data.rfind(bytes((0xFF, 0xD0 + n))) for n in range(8))]
    assert taken(data) is None


def test_the_orientation_still_turns_it() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(PICTURES["noise"], "JPEG", exif=exif)
    assert decode_image(data[:-2], MAX_PIXELS).size == (45, 70)


@pytest.mark.parametrize("kept", [0.3, 0.7, 0.95])
def test_a_progressive_one_might_have_had_another_scan(kept: float) -> None:
    data = encoded(PICTURES["noise"], "JPEG", progressive=True)
    assert taken(data[:-2]) is None
    assert taken(data[: int(kept * len(data))]) is None


def test_a_scan_of_some_components_is_not_all_of_the_image() -> None:
    data = encoded(PICTURES["noise"], "JPEG")
    scan = data.rfind(b"\xff\xda")
    first_alone = b"\xff\xda\0\x08\1\1\0\0\x3f\0" + data[scan + 14 : -2]
    assert taken(data[:scan] + first_alone) is None


def test_a_header_without_a_scan_is_no_image() -> None:
    data = encoded(PICTURES["noise"], "JPEG")
    assert taken(data[: data.rfind(b"\xff\xda")]) is None
    assert taken(data[: data.rfind(b"\xff\xda") + 4]) is None
