"""docs/operate.md has the very messages of a server that does not start."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.places import ROOT

PAGE = (ROOT / "docs/operate.md").read_text()


def said(folder: Path, **variables: str) -> str:
    """What a server with these variables says before it ends with exit code 2."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("FPN_")}
    environment |= {"PYTHONPATH": str(ROOT), "FPN_HOST": "127.0.0.1", "FPN_PORT": "0"} | variables
    model = str(ROOT / "deploy/models/default/model.onnx")
    done = subprocess.run(
        [sys.executable, "-m", "service"],
        cwd=folder,
        env={"FPN_MODEL": model} | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 2, done.stderr
    return done.stderr.strip().splitlines()[-1]


def no_model(folder: Path) -> str:
    return said(folder, FPN_MODEL="missing.onnx")


def junk(folder: Path) -> str:
    (folder / "junk.onnx").write_bytes(b"junk\n")
    return said(folder, FPN_MODEL="junk.onnx").partition(" : Load model")[0]


def empty_folder(folder: Path) -> str:
    (folder / "models").mkdir()
    return said(folder, FPN_MODEL="models")


def a_port_in_use(folder: Path) -> str:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        return said(folder, FPN_PORT=port).replace(port, "8000")


def no_port(folder: Path) -> str:
    return said(folder, FPN_PORT="99999")


def no_setting(folder: Path) -> str:
    return said(folder, FPN_MAX_BATCHES="3")


@pytest.mark.parametrize(
    "fault", [no_model, junk, empty_folder, a_port_in_use, no_port, no_setting]
)
def test_the_page_has_what_a_server_says_that_does_not_start(
    fault: Callable[[Path], str], tmp_path: Path
) -> None:
    message = fault(tmp_path)
    assert message.startswith("fpn-serve: ")
    assert message in PAGE
