from typing import Any

import pytest

from benchmarks.engine.summary import Measured, ratio, same_detections, speed_table, table

Found = dict[str, list[Any]]


def run_of(*seconds: float, batch: int = 1) -> Measured:
    return Measured(seconds={batch: list(seconds)}, peak_bytes={batch: 2**20})


def test_a_ratio_is_of_medians_an_image() -> None:
    results = {"torchvision-onnx": run_of(2.0, 1.0, 9.0), "float32": run_of(4.0, 2.0, 3.0, batch=3)}
    assert ratio(results, "float32", "torchvision-onnx", 3) == pytest.approx(0.5)


def test_there_is_no_ratio_to_what_did_not_run() -> None:
    results = {"float32": run_of(1.0), "compiled": Measured(failed="no answer within 5 s")}
    assert ratio(results, "float32", "compiled") is None
    assert ratio(results, "float32", "torchvision-onnx") is None


def test_a_detection_is_the_same_with_its_label_and_nearly_its_box() -> None:
    boxes = [[0.0, 0, 10, 20], [50.0, 0, 90, 20], [0.0, 50, 10, 80], [5.0, 5, 9, 9]]
    expected: Found = {"boxes": boxes, "labels": [1, 2, 3, 4], "scores": [0.9, 0.8, 0.7, 0.1]}
    moved = [[0.0, 0, 10, 21], [50.0, 0, 90, 20], [0.0, 50, 10, 60]]
    got: Found = {"boxes": moved, "labels": [1, 7, 3], "scores": [0.9, 0.9, 0.9]}
    assert same_detections(expected, got) == pytest.approx(1 / 3)


def test_nothing_found_is_nothing_the_same() -> None:
    expected: Found = {"boxes": [[0.0, 0, 10, 20]], "labels": [1], "scores": [0.9]}
    assert same_detections(expected, {"boxes": [], "labels": [], "scores": []}) == 0


def test_images_a_second_are_those_of_the_whole_batch() -> None:
    text = speed_table({"int8": run_of(1.0, 2.0, 4.0, batch=4)})
    assert "| 4 | 2.000 | 1.000 to 4.000 | 2.00 |  | 1 MiB |  |" in text


def test_who_failed_says_why_in_the_table() -> None:
    text = speed_table({"compiled": Measured(failed="no answer within 5 s")})
    assert "| torchvision, torch.compile | no answer within 5 s |" in text


def test_short_rows_are_filled_up() -> None:
    assert table(("a", "b"), [["1"]]).splitlines()[-1] == "| 1 |  |"
