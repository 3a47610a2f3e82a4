import pytest

from tests.model.conftest import CocoFolder


@pytest.fixture
def roboflow(folder: CocoFolder) -> CocoFolder:
    """As Roboflow exports a project called cells: with a root category of id 0."""
    folder.document["categories"] = [
        {"id": 0, "name": "cells", "supercategory": "none"},
        {"id": 1, "name": "RBC", "supercategory": "cells"},
        {"id": 2, "name": "WBC", "supercategory": "cells"},
    ]
    folder.add_box(folder.add_image("a.png", (20, 45)), [1, 2, 5, 6], category_id=2)
    return folder


def test_a_root_category_without_boxes_is_left_out_and_said(
    roboflow: CocoFolder, caplog: pytest.LogCaptureFixture
) -> None:
    dataset = roboflow.read()
    assert dataset.class_names == ("RBC", "WBC")
    assert dataset.records[0].labels.tolist() == [1]
    assert [category["name"] for category in dataset.ground_truth["categories"]] == ["RBC", "WBC"]
    assert "left out the category 'cells'" in caplog.text


def test_a_root_category_with_boxes_is_a_class(roboflow: CocoFolder) -> None:
    roboflow.add_box(10, [1, 2, 5, 6], category_id=0)
    assert roboflow.read().class_names == ("cells", "RBC", "WBC")


def test_a_class_of_its_own_supercategory_stays_though_it_has_no_boxes(folder: CocoFolder) -> None:
    folder.document["categories"] = [
        {"id": 1, "name": "person", "supercategory": "person"},
        {"id": 2, "name": "dog", "supercategory": "animal"},
    ]
    folder.add_box(folder.add_image("a.png", (20, 45)), [1, 2, 5, 6], category_id=2)
    assert folder.read().class_names == ("person", "dog")


@pytest.mark.parametrize("name", ["background", "__background__", "Background"])
def test_a_class_called_background_is_warned_of_with_the_setting(
    folder: CocoFolder, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    folder.document["categories"].append({"id": 8, "name": name})
    folder.add_image("a.png", (20, 45))
    assert folder.read().class_names == ("cat", "dog", name)
    assert f'leave it out with data.without_classes = ["{name}"]' in caplog.text
