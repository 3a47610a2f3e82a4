from typing import Any

import numpy as np
import pytest

from benchmarks.engine.processes import ContenderFailed
from benchmarks.gpu_check.answers import Tally
from benchmarks.gpu_check.host import first_gpu
from benchmarks.gpu_check.parts import Finding, Skipped, Wrong, tried
from benchmarks.gpu_check.speed import Row
from service.artifact.tensors import OUTPUTS, Outputs
from service.errors import InvalidModel


def raising(error: Exception) -> Finding:
    raise error


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (Skipped("no GPU"), "skipped"),
        (Wrong("others"), "FAILED"),
        (InvalidModel("CUDA does not load"), "FAILED"),
        (ContenderFailed("ended"), "FAILED"),
    ],
)
def test_what_a_part_meets_costs_one_line_and_not_the_parts_behind(
    error: Exception, state: str
) -> None:
    part = tried("part", lambda: raising(error))
    assert (part.state, part.finding.said) == (state, str(error))


def test_a_mistake_of_ours_is_no_finding() -> None:
    with pytest.raises(KeyError):
        tried("part", lambda: raising(KeyError("x")))


def test_the_driver_s_line_is_read_by_name() -> None:
    # As nvidia-smi 580 prints it for the query.
    gpu = first_gpu("NVIDIA H100 80GB HBM3, 580.65.06, 81559, 4, 9.0, 700.00\n")
    assert (gpu["name"], gpu["driver_version"]) == ("NVIDIA H100 80GB HBM3", "580.65.06")
    assert (gpu["compute_cap"], gpu["memory.total"]) == ("9.0", "81559")


def outputs(boxes: list[list[float]], scores: list[float], labels: list[int]) -> Outputs:
    values: dict[str, Any] = {name: np.zeros(0) for name in OUTPUTS}
    values |= {
        "boxes": np.array(boxes, np.float32).reshape(-1, 4),
        "scores": np.array(scores, np.float32),
        "labels": np.array(labels),
        "counts": np.array(len(boxes)),
    }
    return Outputs(**values)


def test_detections_are_compared_with_the_nearest_of_their_class() -> None:
    tally = Tally()
    cpu = outputs([[0, 0, 100, 50], [10, 10, 40, 90]], [0.9, 0.6], [1, 0])
    gpu = outputs([[10, 10, 40, 90], [0, 0, 101, 50], [0, 0, 100, 50]], [0.5, 0.4, 0.9], [0, 1, 0])
    tally.add(cpu, gpu)
    assert (tally.expected, tally.matched, tally.share) == (2, 2, 1.0)
    assert tally.score == pytest.approx(0.5, abs=1e-6)
    assert tally.box == pytest.approx(1.0)


def test_a_detection_that_the_other_has_not_lowers_the_share() -> None:
    tally = Tally()
    tally.add(outputs([[0, 0, 100, 50]], [0.9], [1]), outputs([[0, 0, 100, 80]], [0.9], [1]))
    tally.add(outputs([[0, 0, 100, 50]], [0.29], [1]), outputs([], [], []))
    assert (tally.expected, tally.matched, tally.share) == (1, 0, 0.0)


def test_a_row_s_rate_is_of_its_median_batch() -> None:
    row = Row("default", "ours", 8, [0.5, 0.25, 4.0], host_bytes=2**20)
    assert row.images_per_s == 16
    assert row.cells() == ["default", "ours", "8", "16.0", "0.5000", "4.0000", "1 MiB", "no GPU"]
    assert Row("default", "ours", 8, failed="out of memory").cells()[-1] == "out of memory"
