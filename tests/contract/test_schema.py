"""A file of an older schema: every command that serves it says in one line how it is made anew."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.places import ROOT
from tests.service.golden_files import with_manifest
from tests.service.process import TIME_LIMIT_S, serving

REMEDY = (
    "this server reads manifest schema 3, got 2: make it anew from its checkpoint: fpn-export CHECKPOINT --out"
    " FILE"
)


@pytest.fixture(scope="module")
def older(artifact: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file as export writes it, but for the number of its schema."""
    return with_manifest(artifact, tmp_path_factory.mktemp("older") / "model.onnx", schema=2)


def test_the_server_refuses_an_older_file_with_the_command_that_makes_a_new_one(
    older: Path,
) -> None:
    with serving(FPN_MODEL=str(older)) as server:
        assert server.exit_code() == 2
    assert server.log == [f"fpn-serve: {older}: {REMEDY}"]


@pytest.mark.parametrize(
    ("program", "module", "arguments"),
    [
        ("fpn-serve", "service", ["--check", "MODEL"]),
        ("fpn-detect", "service.offline", ["MODEL", "docs/cat.jpg"]),
    ],
)
def test_other_commands_refuse_it_with_the_same_line(
    older: Path, program: str, module: str, arguments: list[str]
) -> None:
    command = [str(older) if each == "MODEL" else each for each in arguments]
    done = subprocess.run(
        [sys.executable, "-m", module, *command],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=TIME_LIMIT_S,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"{program}: {older}: {REMEDY}\n"
