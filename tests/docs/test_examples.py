"""The examples of the pages: every fenced block of sh, python or javascript succeeds, against a real server.

What is indented instead stands for a reader's own machine: other models, containers, signals.
"""

import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import skimage

from tests.places import ROOT
from tests.service.process import TIME_LIMIT_S, serving

MODEL = ROOT / "deploy" / "models" / "default" / "model.onnx"
PHOTOS = Path(skimage.__file__).parent / "data"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(sh|python|javascript)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ADDRESS = re.compile(r"(?:http://)?localhost:8000")


class Example(NamedTuple):
    """A block of a page."""

    page: str
    number: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}-{self.number}"


def examples() -> list[Example]:
    return [
        Example(page.name, number, *match)
        for page in PAGES
        for number, match in enumerate(BLOCK.findall(page.read_text("utf-8")), 1)
    ]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with serving(FPN_MODEL=str(MODEL), FPN_DEVICE="cpu", FPN_RUNNERS="1") as server:
        server.line_with("event=ready")
        yield f"http://127.0.0.1:{server.port()}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What the examples find where they run: photographs, the model, and our commands."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "more").mkdir()
    shutil.copy(PHOTOS / "rocket.jpg", tmp_path / "photo.jpg")
    shutil.copy(PHOTOS / "rocket.jpg", tmp_path / "more" / "rocket.jpg")
    shutil.copy(ROOT / "docs" / "cat.jpg", tmp_path / "photos" / "cat.jpg")
    shutil.copy(PHOTOS / "rocket.jpg", tmp_path / "a.jpg")
    for name in ("b.png", "docs/cat.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / "docs" / "cat.jpg", tmp_path / name)
    (tmp_path / "model.onnx").symlink_to(MODEL)
    commands = tmp_path / "commands"
    commands.mkdir()
    for name, module in (("fpn-detect", "service.offline"), ("fpn-serve", "service")):
        command = commands / name
        command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m {module} "$@"\n')
        command.chmod(command.stat().st_mode | stat.S_IXUSR)
    return tmp_path


def command_of(language: str, text: str, address: str) -> list[str]:
    bare = address.removeprefix("http://")
    # In a shell people leave the scheme away; our own commands take it for a file then.
    text = ADDRESS.sub(lambda found: address if "http" in found[0] else bare, text)
    if language == "python":
        return [sys.executable, "-c", text]
    if language == "javascript":
        return ["node", "--input-type=module", "-e", text]
    return ["bash", "-euo", "pipefail", "-c", text]


@pytest.mark.parametrize("example", examples(), ids=str)
def test_an_example_runs(example: Example, address: str, folder: Path) -> None:
    if example.language == "javascript" and not shutil.which("node"):
        pytest.skip("there is no node")
    done = subprocess.run(
        command_of(example.language, example.text, address),
        cwd=folder,
        env={
            **os.environ,
            "PATH": f"{folder / 'commands'}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
        },
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_there_are_examples() -> None:
    assert len(examples()) >= 15
    assert {example.language for example in examples()} == {"sh", "python", "javascript"}
