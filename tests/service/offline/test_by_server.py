"""`fpn-detect` and the Python client against a real server with the tiny model."""

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from service.errors import InvalidImage, InvalidRequest
from service.offline.__main__ import main
from service.offline.answers import Asked, Unreachable
from service.offline.client import AsyncClient, Client
from tests.places import ROOT
from tests.service.images import endless_jpeg, png
from tests.service.process import TIME_LIMIT_S, serving

Captured = pytest.CaptureFixture[str]
# One image inside at most, and of bulk then none beside it: whoever asks for two at once is refused one.
FULL = {"FPN_QUEUE_IMAGES": "1", "FPN_MAX_IMAGES": "1"}
VARIABLES = {"FPN_DEVICE": "cpu", "FPN_THREADS": "1", "FPN_DECODE_WORKERS": "1"}


@pytest.fixture(scope="module")
def url(tiny_path: Path) -> Iterator[str]:
    with serving(FPN_MODEL=str(tiny_path), **VARIABLES) as server:
        server.line_with("event=ready")
        yield f"http://127.0.0.1:{server.port()}"


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """A folder of forty, of different sizes and colours."""
    folder = tmp_path / "photographs"
    folder.mkdir()
    for number in range(40):
        content = png(30 + number % 5, 40 + number % 7, (200 + number, number, 0))
        (folder / f"{number:02}.png").write_bytes(content)
    return folder


def lines_of(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "detections.jsonl").read_text().splitlines()]


def test_a_server_and_its_model_file_give_the_same_lines(
    url: str, tiny_path: Path, photographs: Path, tmp_path: Path
) -> None:
    (photographs / "bad.png").write_bytes(b"junk")
    asked = (str(photographs), "--proposals", "2", "--format", "coco", "--out")
    assert main([url, *asked, str(tmp_path / "server")]) == 1
    assert main([str(tiny_path), *asked, str(tmp_path / "model"), "--device", "cpu"]) == 1
    for name in ("detections.jsonl", "results.json", "bad.tsv"):
        assert (tmp_path / "server" / name).read_text() == (tmp_path / "model" / name).read_text()
    assert len(lines_of(tmp_path / "server")) == 41
    assert lines_of(tmp_path / "server")[0]["proposals"]["P2"]


def test_tiles_are_asked_of_a_server_and_not_of_a_file(
    url: str, tiny_path: Path, tmp_path: Path, capsys: Captured
) -> None:
    (tmp_path / "wide.png").write_bytes(png(100, 200, (255, 200, 0)))
    asked = (str(tmp_path / "wide.png"), "--tiles", "2", "--format", "jsonl")
    assert main([url, *asked]) == 0
    line = json.loads(capsys.readouterr().out)
    assert line["tiles"] == 2
    assert {each.get("tile") for each in line["detections"]} >= {0, 1}
    assert main([str(tiny_path), *asked]) == 2
    assert "--tiles: expected a server" in capsys.readouterr().err


def test_a_killed_run_is_gone_on_with_and_has_each_file_once(
    url: str, photographs: Path, tmp_path: Path, capsys: Captured
) -> None:
    paths = sorted(map(str, photographs.iterdir()))
    out, whole = tmp_path / "cut", tmp_path / "whole"
    command = [sys.executable, "-m", "service.offline", url, "-", "--out", str(out)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdin is not None
        # It waits for the rest of the list when it is killed.
        process.stdin.write("".join(f"{path}\n" for path in paths[:17]).encode())
        process.stdin.flush()
        _until(lambda: (out / "detections.jsonl").exists() and len(lines_of(out)) == 17)
        process.kill()
    assert main([url, str(photographs), "--out", str(whole)]) == 0
    capsys.readouterr()
    assert main([url, str(photographs), "--out", str(out), "--resume"]) == 0
    assert "40 answered, 0 bad, 17 of them before" in capsys.readouterr().err
    assert [line["file"] for line in lines_of(out)] == paths
    assert (out / "detections.jsonl").read_bytes() == (whole / "detections.jsonl").read_bytes()


def test_a_full_server_is_asked_again_until_all_are_answered(
    tiny_path: Path, photographs: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with serving(FPN_MODEL=str(tiny_path), **VARIABLES, **FULL) as server:
        server.line_with("event=ready")
        url = f"http://127.0.0.1:{server.port()}"
        named = sorted(map(str, photographs.iterdir()))[:12]
        code = main([url, *named, "--priority", "interactive", "--out", str(out)])
        assert code == 0
        server.process.terminate()
        server.exit_code()
        assert any("code=503" in line for line in server.log)
    assert len(lines_of(out)) == 12


def test_a_photograph_that_is_never_in_time_is_bad_and_the_others_are_answered(
    tiny_path: Path, photographs: Path, tmp_path: Path, capsys: Captured
) -> None:
    named = [str(photographs / name) for name in ("00.png", "01.png")]
    (photographs / "00.png").write_bytes(endless_jpeg())
    with serving(FPN_MODEL=str(tiny_path), FPN_TIMEOUT_S="0.5", **VARIABLES) as server:
        server.line_with("event=ready")
        url = f"http://127.0.0.1:{server.port()}"
        options = ("--concurrency", "1", "--out", str(tmp_path / "out"))
        assert main([url, *named, *options]) == 1
    assert f"{named[0]}: the deadline passed" in capsys.readouterr().err
    assert ["error" in line for line in lines_of(tmp_path / "out")] == [True, False]


def test_a_server_that_is_not_there_is_given_up_after_the_patience(
    photographs: Path, capsys: Captured
) -> None:
    # Port 9 of this machine: nothing listens there.
    assert main(["http://127.0.0.1:9", str(photographs), "--patience", "0.1"]) == 3
    said = capsys.readouterr().err
    assert said.startswith("fpn-detect: 127.0.0.1: ")
    assert said.endswith("gave up after 0.1 s\n")


def test_what_the_server_does_not_have_ends_the_run_with_its_own_words(
    url: str, photographs: Path, capsys: Captured
) -> None:
    assert main([url, str(photographs), "--class", "unicorn"]) == 2
    assert "fpn-detect: classes: no 'unicorn'; known are" in capsys.readouterr().err
    # There is a server, and no detector.
    assert main([f"{url}/nothing", str(photographs)]) == 2
    assert "Not Found (404)" in capsys.readouterr().err


def test_the_client_finds_what_is_there_and_raises_the_servers_own_errors(url: str) -> None:
    with Client(url) as client:
        model = client.model()
        assert (model.name, model.classes[2], model.category_ids[2]) == ("tiny", "bird", 16)
        found = client.detect(png(30, 45, (255, 200, 0)), Asked(score_threshold=0.6, proposals=1))
        assert (found.width, found.height, found.detections[0].box) == (
            *(45, 30),
            (11.25, 15.0, 33.75, 30.0),
        )
        assert len(found.proposals["P2"]) == 1
        with pytest.raises(InvalidImage, match="expected an image"):
            client.detect(b"junk")
        with pytest.raises(InvalidRequest, match="no 'unicorn'"):
            client.detect(png(8, 8), Asked(classes=("unicorn",)))


def test_the_client_of_an_event_loop_answers_as_the_other_does(url: str, tmp_path: Path) -> None:
    photograph = tmp_path / "a.png"
    photograph.write_bytes(png(30, 45, (255, 200, 0)))

    async def asked() -> list[Any]:
        async with AsyncClient(url) as client:
            return [
                await client.model(),
                *await asyncio.gather(*map(client.detect, [photograph] * 3)),
            ]

    model, *found = asyncio.run(asked())
    with Client(url) as client:
        assert model == client.model()
        assert found == [client.detect(photograph)] * 3


def test_a_client_waits_for_a_server_that_is_full_and_no_longer_than_its_patience(
    tiny_path: Path,
) -> None:
    with serving(FPN_MODEL=str(tiny_path), **VARIABLES, **FULL) as server:
        server.line_with("event=ready")
        url = f"http://127.0.0.1:{server.port()}"
        with Client(url) as client, ThreadPoolExecutor(3) as threads:
            found = list(threads.map(client.detect, [png(30, 45)] * 6))
    assert len({each.detections[0].box for each in found}) == 1
    with Client(url, patience_s=0.1) as client, pytest.raises(Unreachable):
        client.model()


def _until(condition: Any) -> None:
    for _ in range(int(TIME_LIMIT_S * 20)):
        if condition():
            return
        threading.Event().wait(0.05)
    raise AssertionError("never happened")
