"""The page's files, as they are sent: nothing from elsewhere, nothing inline, nothing but them."""

import re
import tomllib
from html.parser import HTMLParser
from pathlib import PurePath

import httpx
import pytest

from service.http.page.page import FOLDER, MEDIA_TYPES
from tests.places import ROOT
from tests.service.exchange import problem_of

pytestmark = pytest.mark.anyio

SENT = sorted(path.name for path in FOLDER.iterdir() if path.suffix not in (".py", ""))
ADDRESS = re.compile(r"""(?:href|src|fetch\(|from\s+|import\()=?\s*["'`]([^"'`]*)""")


class Inline(HTMLParser):
    """What a strict policy would block."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        self.found += [name for name in names if name == "style" or name.startswith("on")]
        if tag == "style" or (tag == "script" and "src" not in names):
            self.found.append(tag)


async def test_the_page_may_run_and_fetch_only_what_comes_from_here(
    client: httpx.AsyncClient,
) -> None:
    for path in ("/", *(f"/page/{name}" for name in MEDIA_TYPES)):
        headers = (await client.get(path)).headers
        policy = dict(
            each.strip().split(" ", 1) for each in headers["content-security-policy"].split(";")
        )
        assert policy.pop("default-src") == "'none'"
        assert set(policy.values()) == {"'self'", "'none'"}
        assert headers["x-content-type-options"] == "nosniff"


async def test_the_page_has_nothing_inline() -> None:
    inline = Inline()
    inline.feed((FOLDER / "index.html").read_text("utf-8"))
    assert inline.found == []


@pytest.mark.parametrize("name", SENT)
async def test_every_address_is_relative_so_that_a_prefix_does_no_harm(name: str) -> None:
    text = (FOLDER / name).read_text("utf-8")
    addresses = ADDRESS.findall(text)
    assert [each for each in addresses if each.startswith("/") or ":" in each] == []
    assert "url(" not in text
    assert addresses or name not in ("index.html", "page.js", "server.js")


async def test_every_file_is_sent_as_what_it_is(client: httpx.AsyncClient) -> None:
    assert {"index.html", *MEDIA_TYPES} == set(SENT)
    for name, media_type in MEDIA_TYPES.items():
        answer = await client.get(f"/page/{name}")
        assert answer.headers["content-type"].partition(";")[0] == media_type
        assert answer.content == (FOLDER / name).read_bytes()


@pytest.mark.parametrize("name", ["page.py", "index.html", "..%2Froutes.py", "nothing.js"])
async def test_nothing_else_of_the_folder_is_sent(client: httpx.AsyncClient, name: str) -> None:
    answer = await client.get(f"/page/{name}")
    assert answer.status_code == 404
    problem_of(answer)


async def test_other_routes_keep_their_own_headers(client: httpx.AsyncClient) -> None:
    for path in ("/docs", "/model", "/livez"):
        assert "content-security-policy" not in (await client.get(path)).headers


async def test_every_file_is_installed_with_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    patterns = project["tool"]["setuptools"]["package-data"]["service"]
    for name in SENT:
        assert any(PurePath("http/page", name).match(pattern) for pattern in patterns)
