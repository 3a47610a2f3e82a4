import os
from pathlib import Path

import pytest

from service.engine.cpus import usable_cores


@pytest.mark.parametrize(
    ("text", "expected"), [("100000 100000\n", 1), ("50000 100000\n", 1), ("1 0\n", None)]
)
def test_a_quota_of_time_limits_the_cores(tmp_path: Path, text: str, expected: int | None) -> None:
    quota = tmp_path / "cpu.max"
    quota.write_text(text)
    assert usable_cores(quota) == (expected or usable_cores(tmp_path / "none"))


def test_without_a_quota_they_are_those_that_the_process_may_run_on(tmp_path: Path) -> None:
    quota = tmp_path / "cpu.max"
    quota.write_text("max 100000\n")
    assert usable_cores(quota) == len(os.sched_getaffinity(0))


def test_a_part_of_a_core_counts_as_one(tmp_path: Path) -> None:
    quota = tmp_path / "cpu.max"
    quota.write_text("110000 100000\n")
    assert usable_cores(quota) == min(2, len(os.sched_getaffinity(0)))
