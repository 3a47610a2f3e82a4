"""The drawn picture: what lies on the photograph, and that it is seen there."""

import io
from itertools import combinations

import numpy as np
import pytest
from PIL import Image

from service.pictures.drawing import (
    FORMATS,
    Mark,
    PictureType,
    class_colour,
    draw_marks,
    drawn_picture,
)
from tests.service.images import encoded, noise, plain

BOX = (30.0, 60.0, 170.0, 110.0)


def luminance(colour: tuple[int, int, int]) -> float:
    """The relative luminance of WCAG 2."""
    parts = np.array(colour) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("label", range(100))
def test_dark_text_can_be_read_on_the_colour_of_every_class(label: int) -> None:
    # 4.5 is what WCAG 2 asks for of text.
    assert (luminance(class_colour(label)) + 0.05) / 0.05 >= 4.5


def test_the_first_classes_have_colours_that_are_far_apart() -> None:
    colours = [np.array(class_colour(label)) for label in range(8)]
    assert min(np.abs(one - other).max() for one, other in combinations(colours, 2)) > 30


@pytest.mark.parametrize("ground", [(0, 0, 0), (255, 255, 255), class_colour(1)])
def test_a_box_is_seen_on_any_ground(ground: tuple[int, int, int]) -> None:
    image = plain(150, 200, ground)
    draw_marks(image, [Mark(BOX, "", 1)])
    edge = np.asarray(image)[100, 20:40].astype(int)
    values = [luminance((r, g, b)) for r, g, b in edge]
    assert (max(values) + 0.05) / (min(values) + 0.05) >= 4.5


def test_a_box_lies_on_its_edges_and_leaves_what_is_inside_alone() -> None:
    image = Image.fromarray(noise(150, 200))
    before = np.asarray(image).copy()
    draw_marks(image, [Mark(BOX, "cat 0.98", 1)])
    changed = (np.asarray(image) != before).any(-1)
    assert changed[85, 26:34].any()
    assert changed[108:113, 100].any()
    assert not changed[70:100, 40:160].any()
    assert not changed[:, 190:].any()


@pytest.mark.parametrize("box", [(0, 0, 200, 150), (190, 0, 200, 5), (0, 145, 9, 150)])
def test_a_label_stays_in_the_photograph(box: tuple[float, float, float, float]) -> None:
    image = plain(150, 200, (0, 0, 0))
    draw_marks(image, [Mark(box, "potted plant 0.71", 3)])
    of_class = (np.asarray(image) == class_colour(3)).all(-1)
    # A whole line of the label's ground, whatever the box.
    assert of_class.sum(axis=1).max() >= 60


def test_the_colour_of_a_class_does_not_depend_on_the_others() -> None:
    alone, together = plain(150, 200, (0, 0, 0)), plain(150, 200, (0, 0, 0))
    mark = Mark(BOX, "cat", 5)
    draw_marks(alone, [mark])
    draw_marks(together, [mark, Mark((2, 120, 20, 140), "dog", 1)])
    assert alone.getpixel((100, 110)) == together.getpixel((100, 110)) == class_colour(5)


def test_the_best_lies_on_top() -> None:
    image = plain(150, 200, (0, 0, 0))
    draw_marks(image, [Mark(BOX, "", 0), Mark(BOX, "", 1)])
    assert image.getpixel((100, 110)) == class_colour(0)


@pytest.mark.parametrize("kind", FORMATS)
def test_the_picture_is_the_upright_photograph_in_its_own_size(kind: PictureType) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    data = encoded(plain(60, 90, (10, 200, 30)), "JPEG", exif=exif)
    with Image.open(io.BytesIO(drawn_picture(data, [], kind, 10**6))) as picture:
        assert picture.get_format_mimetype() == kind
        assert picture.size == (60, 90)
        pixel = picture.convert("RGB").getpixel((30, 45))
    assert np.abs(np.array(pixel) - (10, 200, 30)).max() < 8
