import re
import subprocess
import sys

import pytest

from tests.places import ROOT


def requirements(extra: str) -> list[str]:
    command = [sys.executable, "deploy/requirements.py", "pyproject.toml", extra]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def names(extra: str) -> set[str]:
    return {re.split(r"[^\w.-]", line)[0] for line in requirements(extra)}


@pytest.mark.parametrize("extra", ["cpu", "gpu"])
def test_an_image_has_the_server_and_no_torch(extra: str) -> None:
    assert {"fastapi", "uvicorn", "numpy"} <= names(extra)
    assert not {"torch", "torchvision", "onnx", "pytest"} & names(extra)


def test_an_image_has_one_onnx_runtime() -> None:
    assert names("cpu") - names("gpu") == {"onnxruntime"}
    assert names("gpu") - names("cpu") == {"onnxruntime-gpu"}


def test_the_gpu_image_takes_its_cuda_libraries_from_its_base() -> None:
    (runtime,) = [line for line in requirements("gpu") if line.startswith("onnxruntime-gpu")]
    assert "[" not in runtime
    assert "~=" in runtime
