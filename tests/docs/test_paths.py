"""What the documents name exists: files and folders of the repository, modules to run, links to other pages."""

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "deploy/README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FOLDERS = ("benchmarks", "deploy", "docs", "export", "model", "service", "tests")
# A path that begins with one of our folders and is no part of a longer one, of an address or of somebody's own.
PATH = re.compile(rf"(?<![\w./-])(?:{'|'.join(FOLDERS)})/[\w./*-]*")
MODULE = re.compile(r"python -m ([\w.]+)")
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")


def names(pattern: re.Pattern[str], page: Path) -> list[str]:
    return sorted({match.rstrip(".") for match in pattern.findall(page.read_text("utf-8"))})


def by_page(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=by_page)
def test_every_path_that_a_page_names_exists(page: Path) -> None:
    assert [path for path in names(PATH, page) if not list(ROOT.glob(path))] == []


@pytest.mark.parametrize("page", PAGES, ids=by_page)
def test_every_module_that_a_page_runs_can_be_run(page: Path) -> None:
    modules = [name for name in names(MODULE, page) if name.partition(".")[0] in FOLDERS]
    assert [name for name in modules if not _runs(name)] == []


@pytest.mark.parametrize("page", PAGES, ids=by_page)
def test_every_page_that_a_page_links_to_exists(page: Path) -> None:
    assert [link for link in names(LINK, page) if not (page.parent / link).exists()] == []


def test_every_decision_is_in_the_index() -> None:
    folder = ROOT / "docs/decisions"
    decisions = {path.name for path in folder.glob("0*.md")}
    assert decisions == set(names(LINK, folder / "README.md"))


def test_paths_and_modules_are_found_in_the_pages() -> None:
    assert sum(len(names(PATH, page)) for page in PAGES) > 50
    assert sum(len(names(MODULE, page)) for page in PAGES) > 5


def _runs(name: str) -> bool:
    """Whether `python -m` finds a module, or a package with a __main__ of its own."""
    spec = find_spec(name)
    return spec is not None and (
        spec.submodule_search_locations is None or find_spec(f"{name}.__main__") is not None
    )
