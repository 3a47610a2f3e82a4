import re
import runpy
import tomllib
from typing import Any

import pytest
from packaging.requirements import Requirement

from tests.places import ROOT

LOCK: dict[str, Any] = runpy.run_path(str(ROOT / "deploy/lock.py"), run_name="lock")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
NAMES = ("cpu", "cuda", "build")


def locked(name: str) -> dict[str, list[Requirement]]:
    """Package -> what is locked of it, for one Python or for several."""
    text = (ROOT / f"deploy/locked/{name}.txt").read_text()
    found: dict[str, list[Requirement]] = {}
    for line in re.findall(r"^(\w.*?) \\$", text, re.MULTILINE):
        requirement = Requirement(line)
        found.setdefault(requirement.name.lower(), []).append(requirement)
    return found


@pytest.mark.parametrize("name", NAMES)
def test_what_is_locked_is_what_pyproject_asks_for(name: str) -> None:
    packages = locked(name)
    for line in LOCK["requirements"](PROJECT)[name]:
        wanted = Requirement(line)
        versions = [str(each.specifier)[2:] for each in packages[wanted.name.lower()]]
        assert all(version in wanted.specifier for version in versions), (
            f"{line}: {versions} locked; run `make lock`"
        )


@pytest.mark.parametrize("name", NAMES)
def test_every_package_has_one_version_for_a_python_and_a_hash(name: str) -> None:
    text = (ROOT / f"deploy/locked/{name}.txt").read_text()
    entries = [each for each in re.split(r"^(?=\w)", text, flags=re.MULTILINE) if "==" in each]
    assert len(entries) > 20
    assert all(re.search(r"--hash=sha256:[0-9a-f]{64}\b", each) for each in entries)
    for python in ("3.11.9", "3.12.3", "3.13.0"):
        environment = {"python_full_version": python, "python_version": python[:4]}
        for requirements in locked(name).values():
            fit = [r for r in requirements if not r.marker or r.marker.evaluate(environment)]
            assert len(fit) <= 1


@pytest.mark.parametrize("name", ["cpu", "cuda"])
def test_an_image_has_the_server_and_no_torch(name: str) -> None:
    assert {"fastapi", "uvicorn", "numpy"} <= set(locked(name))
    assert not {"torch", "torchvision", "onnx", "pytest"} & set(locked(name))


def test_an_image_has_one_onnx_runtime_and_takes_cuda_from_its_base() -> None:
    assert set(locked("cpu")) - set(locked("cuda")) == {"onnxruntime"}
    assert set(locked("cuda")) - set(locked("cpu")) == {"onnxruntime-gpu"}


@pytest.mark.parametrize(
    ("wheel", "expected"),
    [
        ("a-1-py3-none-any.whl", True),
        ("a-1-cp311-cp311-manylinux_2_27_x86_64.manylinux_2_28_x86_64.whl", True),
        ("a-1-cp312-cp312-manylinux_2_17_aarch64.whl", True),
        ("a-1-cp39-abi3-manylinux_2_28_x86_64.whl", True),
        ("a-1-cp39-cp39-manylinux_2_28_x86_64.whl", False),
        ("a-1-cp313-cp313t-manylinux_2_28_x86_64.whl", False),
        ("a-1-cp312-cp312-musllinux_1_2_x86_64.whl", False),
        ("a-1-cp312-cp312-win_amd64.whl", False),
        ("a-1-cp312-cp312-macosx_11_0_arm64.whl", False),
    ],
)
def test_hashes_are_kept_of_wheels_that_an_image_can_install(wheel: str, expected: bool) -> None:
    assert LOCK["is_for_an_image"](wheel) is expected
