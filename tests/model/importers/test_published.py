import hashlib
import re
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from torchvision.models import get_model_weights

from model.importers.layout import ImportRefused
from model.importers.published import PUBLISHED, published_file, published_weights

CONTENT = bytes(range(256)) * 300
NAME = f"weights-{hashlib.sha256(CONTENT).hexdigest()[:8]}.pth"


class Silent(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ThreadingHTTPServer]:
    (tmp_path / "served").mkdir()
    handler = partial(Silent, directory=tmp_path / "served")
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def publish(
    server: ThreadingHTTPServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[bytes], str]:
    """Serves content under `NAME` and returns its address."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))

    def publish(content: bytes) -> str:
        (tmp_path / "served" / NAME).write_bytes(content)
        return f"http://127.0.0.1:{server.server_port}/{NAME}"

    return publish


def test_the_published_file_is_downloaded_once_with_progress_shown(
    publish: Callable[[bytes], str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = publish(CONTENT)
    path = published_file(url)
    assert path.read_bytes() == CONTENT
    assert path.is_relative_to(tmp_path / "cache")
    assert "100%" in capsys.readouterr().err
    (tmp_path / "served" / NAME).unlink()
    assert published_file(url) == path
    assert capsys.readouterr().err == ""


def test_a_tampered_download_is_refused_and_not_kept(
    publish: Callable[[bytes], str], tmp_path: Path
) -> None:
    with pytest.raises(ImportRefused, match="is not the file that was published"):
        published_file(publish(CONTENT[:-1] + b"!"))
    assert [p for p in (tmp_path / "cache").rglob("*") if p.is_file()] == []


def test_a_cached_file_that_was_changed_is_refused(publish: Callable[[bytes], str]) -> None:
    url = publish(CONTENT)
    published_file(url).write_bytes(b"other weights")
    with pytest.raises(ImportRefused, match=f"begins with {NAME[8:16]}, got .*; delete the file"):
        published_file(url)


def test_without_the_file_or_a_network_one_line_says_what_to_do(
    publish: Callable[[bytes], str], server: ThreadingHTTPServer
) -> None:
    url = publish(CONTENT)
    absent = url.replace(NAME, "absent-00000000.pth")
    unreachable = f"http://127.0.0.1:1/{NAME}"
    for address in (absent, unreachable):
        with pytest.raises(ImportRefused, match="fetch it on a machine with a network") as caught:
            published_file(address)
        assert "\n" not in str(caught.value)


def test_every_model_that_can_be_imported_has_a_published_file_with_its_digest() -> None:
    for name in PUBLISHED:
        [weights] = list(get_model_weights(name))
        assert re.fullmatch(r"https://.*-[0-9a-f]{8}\.pth", weights.url)


def test_an_unknown_model_is_refused_with_those_that_are_near() -> None:
    with pytest.raises(ImportRefused, match="with one of fasterrcnn_resnet50_fpn"):
        published_weights("torchvision://fasterrcnn_resnet50_fnp")
    assert published_weights("runs/mine.pth") is None
