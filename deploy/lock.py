"""Writes deploy/locked/*.txt: every package of the images with its version and the hashes of its wheels.

    make lock

uv resolves, for every Python and processor that an image may have at once; of each wheel that such an image can
install the hash is kept, and no other, so that a file can be read. `pip install --require-hashes` takes nothing else.
The CUDA and cuDNN wheels of onnxruntime-gpu are left out: the base of the gpu image has these libraries, on a layer
that other images of the host share.
"""

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from packaging.tags import Tag
from packaging.utils import parse_wheel_filename

ROOT = Path(__file__).resolve().parent.parent
FOLDER = Path("deploy/locked")
# What builds the project's own wheel, and lists what is in an image.
BUILD = ["setuptools>=77", "wheel", "cyclonedx-bom>=7"]
# Of the Pythons that pyproject.toml allows, those that a base image may have; more would only lengthen the files.
INTERPRETERS = ("cp311", "cp312", "cp313", "py3", "py2.py3")
PLATFORM = re.compile(r"manylinux.*_(x86_64|aarch64)|any")
HEAD = "# Written by `make lock` from pyproject.toml. pip installs nothing that has another hash.\n"


def main() -> int:
    """Writes all files; the exit code."""
    table = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for name, wanted in requirements(table).items():
        text = HEAD + "".join(lines(resolved(wanted)))
        (ROOT / FOLDER / f"{name}.txt").write_text(text, encoding="utf-8")
        print(f"{FOLDER}/{name}.txt: {text.count('==')} packages")
    return 0


def requirements(project: dict[str, Any]) -> dict[str, list[str]]:
    """File -> what it is resolved from, of `project`: that table of pyproject.toml."""
    extras = project["optional-dependencies"]
    gpu = [re.sub(r"^onnxruntime-gpu\[[^]]*\]", "onnxruntime-gpu", each) for each in extras["gpu"]]
    return {
        "cpu": [*project["dependencies"], *extras["cpu"]],
        "cuda": [*project["dependencies"], *gpu],
        "build": BUILD,
    }


def resolved(wanted: list[str]) -> list[dict[str, Any]]:
    """The packages that `wanted` come to, as PEP 751 has them."""
    command = [
        *(sys.executable, "-m", "uv", "pip", "compile", "-", "--quiet", "--universal"),
        *("--python-version", "3.11", "--format", "pylock.toml", "--no-header"),
    ]
    done = subprocess.run(
        command, input="\n".join(wanted), stdout=subprocess.PIPE, text=True, check=True
    )
    packages: list[dict[str, Any]] = tomllib.loads(done.stdout)["packages"]
    return packages


def lines(packages: list[dict[str, Any]]) -> Iterator[str]:
    """The lines of a requirements file for `packages`; those that no image needs are left out."""
    for package in packages:
        marker = package.get("marker", "")
        hashes = sorted(
            wheel["hashes"]["sha256"]
            for wheel in package.get("wheels", [])
            if is_for_an_image(wheel["url"].rpartition("/")[2])
        )
        if not hashes or re.search(r"(sys_platform|os_name) == '(win32|nt|darwin)'", marker):
            continue
        always = marker in ("", "python_full_version >= '3.11'")
        condition = "" if always else f" ; {marker}"
        yield f"{package['name']}=={package['version']}{condition}"
        yield "".join(f" \\\n    --hash=sha256:{each}" for each in hashes) + "\n"


def is_for_an_image(wheel: str) -> bool:
    """Whether an image can install the wheel of this file name."""
    return any(is_tag_of_an_image(tag) for tag in parse_wheel_filename(wheel)[3])


def is_tag_of_an_image(tag: Tag) -> bool:
    """Whether a Python of an image, on Linux, takes wheels of `tag`."""
    older = re.fullmatch(r"cp3([2-9]|1[0-3])", tag.interpreter) if tag.abi == "abi3" else None
    fits = older or (tag.interpreter in INTERPRETERS and not tag.abi.endswith("t"))
    return bool(fits and PLATFORM.fullmatch(tag.platform))


if __name__ == "__main__":
    sys.exit(main())
