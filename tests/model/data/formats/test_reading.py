"""What each format may say beside plain boxes, and what is refused in it with its place."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from model.data.annotations import Document
from model.data.faults import DataError
from model.data.formats.reading import format_of, read_labels
from tests.model.conftest import noise

VOC = (
    "<annotation><filename>a.png</filename><source><database>{database}</database></source>"
    "<object><name>cat</name><difficult>{difficult}</difficult><bndbox><xmin>{xmin}</xmin><ymin>3</ymin>"
    "<xmax>30</xmax><ymax>12</ymax></bndbox></object></annotation>"
)
CVAT = (
    "<annotations><meta><task><labels><label><name>dog</name></label><label><name>cat</name></label></labels>"
    '</task></meta><image id="0" name="a.png" width="45" height="20">{shape}</image>'
    '<image id="1" name="b.png" width="45" height="20"/></annotations>'
)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder with the images a.png and b.png, 45 wide and 20 high."""
    for name in ("a.png", "b.png"):
        noise((20, 45)).save(tmp_path / name)
    return tmp_path


def read(images: Path, files: Mapping[str, str], annotations: str = ".") -> Document:
    for name, text in files.items():
        (images / name).parent.mkdir(exist_ok=True)
        (images / name).write_text(text)
    return read_labels(images / annotations, images)


def boxes(document: Document) -> list[tuple[int, tuple[float, ...]]]:
    return [(a.image_id, tuple(round(side, 2) for side in a.bbox)) for a in document.annotations]


def test_a_yolo_image_without_text_is_an_example_of_nothing(images: Path) -> None:
    found = read(images, {"classes.txt": "cat\ndog\n", "a.txt": "1 0.5 0.5 0.2 0.4\n"})
    assert [image.file_name for image in found.images] == ["a.png", "b.png"]
    assert boxes(found) == [(1, (18, 6, 9, 8))]
    assert found.annotations[0].category_id == 2


def test_a_yolo_polygon_becomes_the_box_around_it(images: Path) -> None:
    text = "0 0.2 0.1 0.6 0.3 0.4 0.5\n\n"
    assert boxes(read(images, {"classes.txt": "cat\n", "a.txt": text})) == [(1, (9, 2, 18, 8))]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("7 0.5 0.5 0.2 0.4", r"a\.txt:2: expected a class of 0 to 1 "),
        ("-1 0.5 0.5 0.2 0.4", r"a\.txt:2: expected a class of 0 to 1 "),
        ("cat 0.5 0.5 0.2 0.4", r"a\.txt:2: expected a class of 0 to 1 "),
        ("0 0.5 0.5 0.2", r"a\.txt:2: .* four fractions or a polygon"),
        ("0 0.5 0.5 0.2 0.4 0.93", r"a\.txt:2: .* four fractions or a polygon"),
        ("0 20 10 9 8", r"a\.txt:2: expected fractions .*: pixels perhaps"),
    ],
)
def test_a_line_of_yolo_that_cannot_be_is_refused_by_its_number(
    images: Path, line: str, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        read(images, {"classes.txt": "cat\ndog\n", "a.txt": f"0 0.5 0.5 0.2 0.4\n{line}\n"})


def test_yolo_without_class_names_is_refused(images: Path) -> None:
    with pytest.raises(DataError, match=r"no data\.yaml or classes\.txt near them"):
        read(images, {"a.txt": "0 0.5 0.5 0.2 0.4\n"})


@pytest.mark.parametrize(("database", "x"), [("The VOC2007 Database", 4), ("Unknown", 5)])
def test_corners_of_the_voc_sets_count_from_one(images: Path, database: str, x: int) -> None:
    text = VOC.format(database=database, difficult=0, xmin=5)
    found = read(images, {"a.xml": text})
    assert found.annotations[0].bbox[0] == x
    assert found.annotations[0].bbox[0] + found.annotations[0].bbox[2] == 30


def test_difficult_objects_of_voc_are_ignored_in_training_and_scoring(images: Path) -> None:
    found = read(images, {"a.xml": VOC.format(database="", difficult=1, xmin=5)})
    assert [annotation.iscrowd for annotation in found.annotations] == [1]


def test_a_voc_file_that_is_broken_is_refused_by_its_name(images: Path) -> None:
    with pytest.raises(DataError, match=r"a\.xml: expected a number, got 'five'"):
        read(images, {"a.xml": VOC.format(database="", difficult=0, xmin="five")})
    with pytest.raises(DataError, match=r"a\.xml: not valid XML"):
        read(images, {"a.xml": "<annotation>"})


@pytest.mark.parametrize(
    "text",
    [
        "filename,class,xmin,ymin,xmax,ymax\na.png,cat,5,3,30,12\n",
        "\ufeffImage;X;Y;W;H;Label\na.png;5;3;25;9;cat\n",
        "a.png,5,3,30,12,cat\n",
        "file_name,name,x,y,width,height\na.png,cat,5,3,25,9\n",
    ],
)
def test_columns_are_found_by_their_names_or_their_order(images: Path, text: str) -> None:
    assert boxes(read(images, {"labels.csv": text}, "labels.csv")) == [(1, (5, 3, 25, 9))]


def test_a_row_without_a_box_is_an_example_of_nothing(images: Path) -> None:
    text = "filename,class,xmin,ymin,xmax,ymax\nb.png,,,,,\na.png,cat,5,3,30,12\n"
    found = read(images, {"labels.csv": text}, "labels.csv")
    assert (len(found.images), boxes(found)) == (2, [(1, (5, 3, 25, 9))])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("filename,class,left\na.png,cat,5\n", "expected columns such as filename"),
        ("filename,class,x1,y1,x2,y2\na.png,cat,5,3,thirty,12\n", r"csv:2: expected numbers"),
        ("filename,class,x1,y1,x2,y2\na.png,,5,3,30,12\n", r"csv:2: expected a class, got none"),
        ("", "no rows"),
    ],
)
def test_a_table_that_cannot_be_is_refused_by_its_line(
    images: Path, text: str, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        read(images, {"labels.csv": text}, "labels.csv")


@pytest.mark.parametrize(
    ("shape", "box"),
    [
        ('<box label="cat" xtl="5" ytl="3" xbr="30" ybr="12"/>', (5, 3, 25, 9)),
        ('<box label="cat" xtl="5" ytl="6" xbr="15" ybr="12" rotation="90"/>', (7, 4, 6, 10)),
        ('<polygon label="cat" points="5,3;30,4;8,12"/>', (5, 3, 25, 9)),
        ('<mask label="cat" left="5" top="3" width="25" height="9" rle="1"/>', (5, 3, 25, 9)),
    ],
)
def test_the_box_around_every_shape_of_cvat_is_taken(
    images: Path, shape: str, box: tuple[float, ...]
) -> None:
    found = read(images, {"annotations.xml": CVAT.format(shape=shape)}, "annotations.xml")
    assert boxes(found) == [(1, box)]
    assert [category.name for category in found.categories] == ["dog", "cat"]
    assert len(found.images) == 2


def test_shapes_that_are_no_boxes_are_counted(
    images: Path, caplog: pytest.LogCaptureFixture
) -> None:
    text = CVAT.format(shape='<points label="cat" points="5,3"/>')
    assert boxes(read(images, {"annotations.xml": text}, "annotations.xml")) == []
    assert "left out 1 of kind 'points', which are no boxes" in caplog.text


def test_tasks_that_nobody_has_labelled_are_left_out(images: Path) -> None:
    region = {
        "original_width": 45,
        "original_height": 20,
        "type": "rectanglelabels",
        "value": {"x": 20, "y": 50, "width": 40, "height": 25, "rectanglelabels": ["cat"]},
    }
    cancelled = {"result": [], "was_cancelled": True}
    tasks = [
        {
            "data": {"image": "/data/local-files/?d=a.png"},
            "annotations": [cancelled, {"result": [region]}],
        },
        {"data": {"image": "b.png"}, "annotations": [cancelled]},
        {"data": {"image": "c.png"}, "annotations": []},
    ]
    found = read(images, {"tasks.json": json.dumps(tasks)}, "tasks.json")
    assert [image.file_name for image in found.images] == ["a.png"]
    assert boxes(found) == [(1, (9, 10, 18, 5))]


def test_a_circle_of_labelme_has_a_box_and_a_point_has_none(
    images: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shapes = [
        {"label": "cat", "shape_type": "circle", "points": [[20, 10], [23, 14]]},
        {"label": "cat", "shape_type": "point", "points": [[20, 10]]},
    ]
    text = json.dumps({"shapes": shapes, "imagePath": "..\\photos\\a.png"})
    assert boxes(read(images, {"a.json": text}, "a.json")) == [(1, (15, 5, 10, 10))]
    assert "left out 1 of kind 'point'" in caplog.text


def test_what_holds_no_labels_is_refused_with_what_could_be(images: Path) -> None:
    with pytest.raises(DataError, match="no labels in it: expected COCO's or Label Studio's json"):
        format_of(images)
    with pytest.raises(DataError, match="expected VOC's <annotation> or CVAT's <annotations>"):
        read(images, {"a.xml": "<html/>"}, "a.xml")
