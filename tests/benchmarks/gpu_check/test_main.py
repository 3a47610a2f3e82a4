"""The check as it is: on a GPU all of it, elsewhere what can be run there."""

import json
from pathlib import Path

import pytest

from benchmarks.gpu_check.__main__ import main
from benchmarks.gpu_check.host import device

SMALL = ["--networks", "default", "--batches", "1", "--rounds", "1", "--seconds", "1"]
OF_A_GPU = {"driver", "provider", "CPU against GPU"}


@pytest.mark.skipif(device() == "cuda", reason="this host has a GPU")
def test_without_a_gpu_it_measures_the_cpu_and_says_what_it_skipped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--out", str(tmp_path), *SMALL]) == 0
    printed = capsys.readouterr().out
    found = json.loads((tmp_path / "gpu-check.json").read_text())
    states = {part["name"]: part["state"] for part in found["parts"]}
    assert {name for name, state in states.items() if state == "skipped"} == OF_A_GPU
    assert set(states.values()) == {"ok", "skipped"}
    figures = {part["name"]: part["finding"]["figures"] for part in found["parts"]}
    assert all(row["images_per_s"] > 0 for row in figures["speed of default"]["rows"])
    assert figures["served"]["images_per_s"] > 0
    page = (tmp_path / "gpu-check.md").read_text()
    for text in (printed, page):
        assert "no GPU: the CPU agrees with itself" in text
        assert "float16 skipped: no GPU" in text


@pytest.mark.gpu
def test_on_a_gpu_every_part_holds(tmp_path: Path) -> None:
    assert main(["--out", str(tmp_path), *SMALL]) == 0
    found = json.loads((tmp_path / "gpu-check.json").read_text())
    assert {part["state"] for part in found["parts"]} == {"ok"}
