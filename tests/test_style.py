"""Limits that no linter here checks: how long a file and a function may grow, and what `__init__` holds."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MAX_FILE_LINES = 300
MAX_FUNCTION_LINES = 50
MAX_TEST_FILE_LINES = 400

SOURCES = sorted(
    path.relative_to(ROOT)
    for package in ("service", "model", "export", "deploy", "benchmarks", "tests")
    for path in (ROOT / package).rglob("*.py")
)


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_a_file_is_one_idea_long(path: Path) -> None:
    lines = len((ROOT / path).read_text(encoding="utf-8").splitlines())
    assert lines <= (MAX_TEST_FILE_LINES if path.parts[0] == "tests" else MAX_FILE_LINES)


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_a_function_fits_on_a_screen(path: Path) -> None:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    lengths = [
        (node.name, (node.end_lineno or node.lineno) - node.lineno + 1)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    assert [(name, n) for name, n in lengths if n > MAX_FUNCTION_LINES] == []


def test_packages_do_nothing_when_they_are_imported() -> None:
    packages = [path for path in SOURCES if path.name == "__init__.py"]
    assert len(packages) >= 3
    assert [path for path in packages if (ROOT / path).read_text().strip()] == []
