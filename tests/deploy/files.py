"""The deployment's files, read: what the tests of this folder have in common."""

import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.places import ROOT

RESET = object()  # what compose takes away from the file that it overrides


class ComposeLoader(yaml.SafeLoader):
    """YAML with compose's own tags."""


def _overriding(loader: yaml.SafeLoader, node: yaml.Node) -> Any:
    assert isinstance(node, yaml.SequenceNode)
    return loader.construct_sequence(node, deep=True)


ComposeLoader.add_constructor("!reset", lambda loader, node: RESET)
ComposeLoader.add_constructor("!override", _overriding)


def read_compose(path: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.load((ROOT / path).read_text(), ComposeLoader)
    return content


def default_of(value: str) -> str:
    """`value` as compose reads it when no variable is set: ${NAME:-default} is default."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value)


@dataclass(frozen=True)
class Stage:
    """A stage of the Dockerfile: what it starts from, and its instructions with their arguments."""

    base: str
    instructions: list[tuple[str, str]]

    def arguments(self, name: str) -> list[str]:
        return [argument for each, argument in self.instructions if each == name]


def read_dockerfile() -> tuple[dict[str, str], dict[str, Stage]]:
    """The arguments before the first stage with their defaults, and the stages by name."""
    text = re.sub(r"^\s*#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = [line for line in re.sub(r"\s*\\\n\s*", " ", text).splitlines() if line]
    arguments: dict[str, str] = {}
    stages: dict[str, Stage] = {}
    current = Stage("", [])
    for line in lines:
        name, rest = line.split(maxsplit=1)
        if name == "FROM":
            base, _, stage = rest.split()
            current = stages[stage] = Stage(base, [])
        elif stages:
            current.instructions.append((name, rest))
        else:
            argument, default = rest.split("=", 1)
            arguments[argument] = default
    return arguments, stages


def tool(name: str) -> str:
    """The path of a program, of this environment or of the system; where it is neither, the test is skipped."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found
