"""docs/architecture.md has the rooms and the names that the code has."""

import ast
import re
import tomllib

import pytest

from tests.places import ROOT

PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| (\d+) \| (.*?) \|", re.MULTILINE)
WALKS = PAGE.partition("## The walk of a photograph")[2].partition("## The engine")[0]
NAME = re.compile(r"`((?:[A-Z]\w*\.)?\w+)`")


def floors_of(package: str) -> dict[int, set[str]]:
    """The modules on each floor of `package`, the lowest is 1, as the import contract has them."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    for contract in contracts["tool"]["importlinter"]["contracts"]:
        if contract.get("containers") == [package]:
            layers = reversed(contract["layers"])
            return {
                floor: set(re.split(r"\s*[|:]\s*", layer)) for floor, layer in enumerate(layers, 1)
            }
    raise AssertionError(f"{package} has no contract of layers")


def floors_on_page(package: str) -> dict[int, set[str]]:
    floors: dict[int, set[str]] = {}
    for floor, rooms in ROW.findall(PAGE):
        names = set(re.findall(rf"`{package}/(\w+)(?:/|\.py)`", rooms))
        if names:
            floors.setdefault(int(floor), set()).update(names)
    return floors


def defined_names() -> set[str]:
    """Every class and function of the sources, methods also as `Class.method`."""
    names: set[str] = set()
    for package in ("model", "export", "service"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                    names.add(node.name)
                if isinstance(node, ast.ClassDef):
                    members = {getattr(each, "name", "") for each in node.body}
                    names |= {f"{node.name}.{member}" for member in members}
    return names


@pytest.mark.parametrize("package", ["model", "export", "service"])
def test_the_page_has_every_room_on_the_floor_that_the_imports_keep(package: str) -> None:
    assert floors_on_page(package) == floors_of(package)


def test_the_walks_name_what_the_code_has() -> None:
    names = set(NAME.findall(WALKS))
    assert len(names) > 20
    assert names - defined_names() == set()
