import argparse
import os
import pathlib
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from model.network.torch_file import UnreadableFile, read_torch_file, write_torch_file

# As torchvision's references/detection/train.py writes it, with NumPy's numbers where users keep their best figure.
CHECKPOINT: dict[str, Any] = {
    "model": {"conv.weight": torch.arange(6.0).reshape(2, 3)},
    "optimizer": {"state": {0: {"momentum_buffer": torch.ones(2)}}, "param_groups": [{"lr": 0.02}]},
    "args": argparse.Namespace(lr=0.02, aspect_ratio_group_factor=3, output_dir=Path("out/run")),
    "epoch": np.int64(25),
    "best": np.float32(0.5),
    "history": np.arange(3, dtype=np.float64),
}


class Calls:
    """Pickled as a call of `function`."""

    def __init__(self, function: Callable[..., Any], argument: object) -> None:
        self.call = (function, (argument,))

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


@pytest.mark.parametrize("zipped", [True, False])
def test_a_training_programs_checkpoint_is_read(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "model_25.pth"
    torch.save(CHECKPOINT, path, _use_new_zipfile_serialization=zipped)
    content = read_torch_file(path)
    assert isinstance(content, dict)
    assert torch.equal(content["model"]["conv.weight"], CHECKPOINT["model"]["conv.weight"])
    assert (content["epoch"], content["best"]) == (25, 0.5)
    assert vars(content["args"]) | {"output_dir": ""} == vars(CHECKPOINT["args"]) | {
        "output_dir": ""
    }
    assert content["history"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("place", ["whole", "beside", "in the options"])
@pytest.mark.parametrize(
    "function", [os.mkdir, subprocess.check_call, eval, pathlib.Path.mkdir, np.load]
)
def test_a_file_that_calls_anything_is_refused_by_its_name_and_not_run(
    tmp_path: Path, function: Callable[..., Any], place: str, zipped: bool
) -> None:
    target = tmp_path / "it ran"
    argument: object = {
        eval: f"__import__('os').mkdir({str(target)!r})",
        subprocess.check_call: ["mkdir", str(target)],
    }.get(function, target)
    trap = Calls(function, argument)
    content = {
        "whole": trap,
        "beside": CHECKPOINT | {"more": trap},
        "in the options": CHECKPOINT | {"args": argparse.Namespace(lr=trap)},
    }[place]
    torch.save(content, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(UnreadableFile, match=r"names \S+, which is not called") as caught:
        read_torch_file(tmp_path / "a.pth")
    assert "\n" not in str(caught.value)
    assert not target.exists()


def test_a_deflated_file_is_read_like_any_other_and_is_the_same_each_time(tmp_path: Path) -> None:
    content = {"weights": torch.zeros(5000), "names": ["cat"]}
    plain, one, other = (tmp_path / name for name in ("plain.pt", "one.pt", "other.pt"))
    write_torch_file(plain, content)
    for path in (one, other):
        write_torch_file(path, content, deflated=True)
    read = read_torch_file(one)
    assert isinstance(read, dict)
    assert torch.equal(read["weights"], content["weights"])  # type: ignore[arg-type]
    assert read["names"] == ["cat"]
    assert one.stat().st_size < 0.2 * plain.stat().st_size
    assert one.read_bytes() == other.read_bytes()
