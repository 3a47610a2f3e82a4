from pathlib import Path

import numpy as np
import pytest
import torch

from model.data.coco import Record
from model.data.faults import DataError
from model.evaluation.inference import Finding
from model.evaluation.results import (
    PhotoDetections,
    box_results,
    category_ids,
    detection_results,
    in_photograph,
)
from model.network.detections import FinalBoxes
from tests.model.conftest import CocoFolder


def test_boxes_become_corner_width_and_height() -> None:
    boxes = torch.tensor([[5.0, 3.0, 35.0, 13.5], [0.0, 1.0, 2.0, 9.0]])
    assert box_results(8, boxes, torch.tensor([0.75, 0.5])) == [
        {"image_id": 8, "bbox": [5, 3, 30, 10.5], "score": 0.75},
        {"image_id": 8, "bbox": [0, 1, 2, 8], "score": 0.5},
    ]


def test_an_image_without_boxes_has_no_results() -> None:
    assert box_results(8, torch.zeros(0, 4), torch.zeros(0)) == []


def test_a_detection_has_the_category_of_its_label() -> None:
    boxes = torch.tensor([[0.0, 0.0, 4.0, 7.0]]).expand(3, 4)
    found = PhotoDetections(boxes, torch.ones(3), torch.tensor([1, 0, 1]))
    results = detection_results(2, found, [30, 9])
    assert [result["category_id"] for result in results] == [9, 30, 9]
    assert results[0] == {"image_id": 2, "category_id": 9, "bbox": [0, 0, 4, 7], "score": 1}


def test_the_real_detections_of_a_frame_are_scaled_by_each_side_to_the_photograph() -> None:
    boxes = torch.tensor([[2.0, 4.0, 10.0, 20.0], [9.0, 9.0, 9.0, 9.0]])
    labels = torch.tensor([1, 0])
    found = FinalBoxes(boxes, torch.tensor([0.5, 0.9]), labels, labels, torch.tensor(1))
    none = (np.zeros((0, 4), np.float32), np.zeros(0, np.int64))
    record = Record(Path("a.png"), 8, (20, 60), *none)
    detections = in_photograph(Finding(record, content=(40, 20), found=found))
    assert detections.boxes.tolist() == [[6, 2, 30, 10]]
    assert detections.scores.tolist() == [0.5]
    assert detections.labels.tolist() == [1]


def test_categories_are_matched_by_name_in_the_order_of_the_labels(folder: CocoFolder) -> None:
    folder.add_image("a.png", (8, 9))
    dataset = folder.read()  # cat is 3, dog is 7
    assert category_ids(("dog", "cat"), dataset) == [7, 3]


def test_classes_that_only_one_side_has_are_said_and_left_out(
    folder: CocoFolder, caplog: pytest.LogCaptureFixture
) -> None:
    folder.add_image("a.png", (8, 9))
    categories = category_ids(("cow", "cat"), folder.read())
    assert categories == [None, 3]
    assert [record.getMessage() for record in caplog.records] == [
        "not scored, as the data set has no such class: 1: cow",
        "never found, as the detector has no such class: 1: dog",
    ]
    found = PhotoDetections(torch.ones(2, 4), torch.ones(2), torch.tensor([0, 1]))
    assert [result["category_id"] for result in detection_results(2, found, categories)] == [3]


def test_a_detector_without_any_of_the_classes_is_refused(folder: CocoFolder) -> None:
    folder.add_image("a.png", (8, 9))
    with pytest.raises(DataError, match=r"detector has 1: cow and the data set 2: cat, dog"):
        category_ids(("cow",), folder.read())
