"""What the images install: built from the files that the Dockerfile copies, with the lines that it runs."""

import re
import shutil
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

import pytest

from tests.deploy.files import Stage, read_dockerfile
from tests.places import ROOT

WHEEL = re.compile(
    r"(?P<before>.*?) && python3 -m pip --python \S+ wheel .* --no-deps -w /wheel \. && .*"
)


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The commands in a virtual environment that holds what an image installs of this project."""
    build = tmp_path_factory.mktemp("build")
    builder = read_dockerfile()[1]["builder"]
    (installing,) = [run for run in builder.arguments("RUN") if " /wheel/" in run]
    found = WHEEL.fullmatch(installing)
    assert found is not None, installing
    copy_project(builder, build)
    subprocess.run(found["before"], shell=True, cwd=build, check=True)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    subprocess.run([*pip, "wheel", "--no-build-isolation", "--no-deps", "."], cwd=build, check=True)
    venv.create(build / "venv", with_pip=False)
    before = set((build / "venv/bin").iterdir())
    into = ["--python", str(build / "venv/bin/python"), "install", "--no-deps", "--no-index"]
    subprocess.run([*pip, *into, *map(str, build.glob("*.whl"))], check=True)
    return {path.name for path in set((build / "venv/bin").iterdir()) - before}


def copy_project(builder: Stage, folder: Path) -> None:
    """Copies what `builder` copies into its working directory, before it installs the project."""
    for arguments in builder.arguments("COPY"):
        *sources, target = arguments.split()
        if sources[0].startswith("--from") or target.startswith("/"):
            continue
        for source in sources:
            if (ROOT / source).is_dir():
                clean = shutil.ignore_patterns("__pycache__")
                shutil.copytree(ROOT / source, folder / target, ignore=clean)
            else:
                shutil.copy(ROOT / source, folder / target)


def test_an_image_has_the_services_commands_and_no_others(commands: set[str]) -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert commands == {name for name, entry in scripts.items() if entry.startswith("service.")}
    assert len(commands) < len(scripts)


def test_the_compose_test_looks_for_the_same_commands(commands: set[str]) -> None:
    text = (ROOT / "deploy/compose_test/__main__.py").read_text()
    assert f"COMMANDS = {sorted(commands)}".replace("'", '"') in text
