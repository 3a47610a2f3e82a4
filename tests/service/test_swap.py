"""Another model in the place of the one that serves: without a gap, and only when it is good."""

import asyncio
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from service.app import create_app
from tests.service.conftest import running, small_settings
from tests.service.exchange import parts
from tests.service.fakes import GatedModel, until
from tests.service.golden_files import with_golden, with_manifest
from tests.service.images import png
from tests.service.process import TIME_LIMIT_S, ServerProcess, serving

PHOTOGRAPH = png(30, 45, (255, 200, 0))
# What each of two models says of it: version, class and box of the best detection.
FIRST = ("0123456789ab", "bird", (11.25, 15.0, 33.75, 30.0))
SECOND = ("ba9876543210", "owl", (0.0, 0.0, 22.5, 15.0))


@pytest.fixture(scope="module")
def second(tiny_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with other classes, and with other boxes in its graph."""
    folder = tmp_path_factory.mktemp("second")
    names = {"version": SECOND[0], "classes": ["fox", "hen", "owl"]}
    return with_other_boxes(
        with_manifest(tiny_path, folder / "names.onnx", **names), folder / "second.onnx"
    )


def with_other_boxes(path: Path, out: Path) -> Path:
    """`out`: the tiny model at `path` with its best detection in another place."""
    model = onnx.load(path)
    (parts_of_box,) = (each for each in model.graph.initializer if each.name == "box_parts")
    boxes = numpy_helper.to_array(parts_of_box).copy()
    boxes[0, 0] = (0.0, 0.0, 0.5, 0.5)
    parts_of_box.CopyFrom(numpy_helper.from_array(boxes.astype(np.float32), "box_parts"))
    onnx.save(model, out)
    return out


@pytest.fixture
def served(tiny_path: Path, tmp_path: Path) -> Path:
    """The file that is served, to be replaced."""
    return placed(tiny_path, tmp_path / "model.onnx")


def placed(model: Path, path: Path) -> Path:
    """A copy of `model` at `path`, in one step, as fpn-export writes its files."""
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_bytes(model.read_bytes())
    return unfinished.replace(path)


def seen_in(answer: httpx.Response) -> tuple[str, str, tuple[float, ...]]:
    body: dict[str, Any] = answer.json()
    best = body["images"][0]["detections"][0]
    return body["model"]["version"], best["label"], tuple(best["box"])


class Load:
    """Clients that ask again and again, each on one connection, and what they were answered."""

    def __init__(self, port: int, clients: int = 4) -> None:
        self.codes: list[int] = []
        self.seen: list[tuple[str, str, tuple[float, ...]]] = []
        self.errors: list[Exception] = []
        self._url = f"http://127.0.0.1:{port}/detect"
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(clients)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(TIME_LIMIT_S)

    def until(self, version: str) -> None:
        """Returns once an answer of that version has come that was asked for after now."""
        known = len(self.seen)
        for _ in range(int(TIME_LIMIT_S * 50)):
            if any(seen[0] == version for seen in self.seen[known:]) or self.errors:
                return
            threading.Event().wait(0.02)
        raise AssertionError(f"{version} never answered")

    def _ask(self) -> None:
        with httpx.Client(timeout=TIME_LIMIT_S) as client:
            while not self._over.is_set():
                try:
                    answer = client.post(self._url, files=parts(PHOTOGRAPH))
                    self.codes.append(answer.status_code)
                    self.seen.append(seen_in(answer))
                except Exception as error:
                    self.errors.append(error)
                    return


@pytest.fixture
def server(served: Path) -> Iterator[ServerProcess]:
    with serving(FPN_MODEL=str(served), FPN_DEVICE="cpu", FPN_WATCH="1") as server:
        server.line_with("event=ready")
        yield server


def test_under_load_no_request_is_lost_and_none_is_answered_by_half_of_each(
    server: ServerProcess, served: Path, tiny_path: Path, second: Path
) -> None:
    url = f"http://127.0.0.1:{server.port()}"
    with Load(server.port()) as load:
        load.until(FIRST[0])
        for model, version in ((second, SECOND[0]), (tiny_path, FIRST[0]), (second, SECOND[0])):
            placed(model, served)
            load.until(version)
        served.write_bytes(b"broken")
        server.line_with('event="the model stays"')
        load.until(SECOND[0])
        placed(tiny_path, served)
        server.process.send_signal(signal.SIGHUP)
        load.until(FIRST[0])
        metrics = httpx.get(f"{url}/metrics").text
        about = httpx.get(f"{url}/model").json()["manifest"]
    assert load.errors == []
    assert set(load.codes) == {200}
    assert set(load.seen) == {FIRST, SECOND}
    assert 'fpn_swaps_total{outcome="failed"} 1.0' in metrics
    assert f'version="{FIRST[0]}"' in metrics
    assert f'version="{SECOND[0]}"' not in metrics
    assert 'fpn_detections_total{label="owl"}' in metrics
    assert about["version"] == FIRST[0]
    server.process.terminate()
    assert server.exit_code() == 0


@pytest.mark.anyio
async def test_a_request_is_answered_by_the_model_that_it_began_with(
    served: Path, second: Path
) -> None:
    app = create_app(small_settings(served))
    app.state.engine = model = GatedModel(app.state.engine)
    async with running(app) as client:
        old = app.state.detector
        model.hold = True
        inside = asyncio.create_task(client.post("/detect", files=parts(PHOTOGRAPH)))
        await model.begun()
        placed(second, served)
        assert await app.state.swap.swap()
        assert seen_in(await client.post("/detect", files=parts(PHOTOGRAPH))) == SECOND
        assert (await client.get("/readyz")).status_code == 200
        assert not inside.done()
        model.open()
        assert seen_in(await inside) == FIRST
        await until(lambda: old.inference.stopped)
        # What came last is what the metrics show.
        assert seen_in(await client.post("/detect", files=parts(PHOTOGRAPH))) == SECOND


@pytest.mark.anyio
@pytest.mark.parametrize("fault", ["none", "broken", "golden", "batch"])
async def test_a_model_that_is_not_good_changes_nothing(
    served: Path,
    second: Path,
    tmp_path: Path,
    fault: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = create_app(small_settings(served))
    async with running(app) as client:
        threads = threading.active_count()
        if fault == "none":
            served.unlink()
        elif fault == "broken":
            served.write_bytes(second.read_bytes()[:-100])
        elif fault == "golden":
            # The answers of the first, which the second does not give.
            golden = with_golden(served, tmp_path / "golden.onnx", {"a.png": PHOTOGRAPH})
            model = onnx.load(golden)
            model.graph.CopyFrom(onnx.load(second).graph)
            onnx.save(model, served)
        else:
            limits = {"max_side": 96, "max_batch": 1, "max_regions": 9}
            with_manifest(second, served, limits=limits)
        assert not await app.state.swap.swap()
        assert seen_in(await client.post("/detect", files=parts(PHOTOGRAPH))) == FIRST
        assert 'fpn_swaps_total{outcome="failed"} 1.0' in (await client.get("/metrics")).text
        await until(lambda: threading.active_count() <= threads + 2)
    said = {"none": "no such file", "broken": "cannot load", "golden": "golden photograph a.png"}
    (reason,) = [r.fields["reason"] for r in caplog.records if "stays" in r.getMessage()]  # type: ignore[attr-defined]
    assert said.get(fault, "FPN_MAX_BATCH") in reason


@pytest.mark.anyio
async def test_a_file_that_is_still_written_is_not_loaded(served: Path, second: Path) -> None:
    app = create_app(small_settings(served, watch=True))
    async with running(app) as client:
        whole = second.read_bytes()
        with served.open("wb") as file:
            for part in range(4):
                file.write(whole[len(whole) * part // 4 : len(whole) * (part + 1) // 4])
                file.flush()
                os.utime(served)
                await asyncio.sleep(0.5)
        await until(lambda: app.state.detector.manifest.version == SECOND[0])
        assert 'fpn_swaps_total{outcome="failed"} 0.0' in (await client.get("/metrics")).text
