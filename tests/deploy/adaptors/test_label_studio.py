"""Label Studio's backend, asked as Label Studio asks, between a real server and what stands for its files."""

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from deploy.adaptors.label_studio import labelling_of
from tests.places import ROOT
from tests.service.images import png
from tests.service.process import TIME_LIMIT_S, serving
from tests.service.tiny_model import write_tiny_model

CONFIG = """
<View>
  <Image name="photo" value="$picture"/>
  <RectangleLabels name="boxes" toName="photo">
    <Label value="Bird"/><Label value="Pet" predicted_values="dog, cat"/>
  </RectangleLabels>
</View>"""
TOKEN = "0123456789abcdef"


class Files(BaseHTTPRequestHandler):
    """Gives the uploads of a Label Studio to whoever has its token."""

    def do_GET(self) -> None:
        known = self.headers["authorization"] == f"Token {TOKEN}"
        there = self.path == "/data/upload/1/a.png?x=1"
        self.send_response(401 if not known else 200 if there else 404)
        self.end_headers()
        if known and there:
            self.wfile.write(png(30, 45, (255, 200, 0)))

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture(scope="module")
def files() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Files) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def backend(files: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The adaptor as a process of its own, as it is deployed."""
    model = write_tiny_model(tmp_path_factory.mktemp("model") / "tiny.onnx")
    with serving(FPN_MODEL=str(model), FPN_DEVICE="cpu") as server:
        server.line_with("event=ready")
        environment = {
            **os.environ,
            "FPN_URL": f"http://127.0.0.1:{server.port()}",
            "LABEL_STUDIO_URL": files,
            "LABEL_STUDIO_API_KEY": TOKEN,
        }
        command = [sys.executable, "-m", "uvicorn", "deploy.adaptors.label_studio:app"]
        process = subprocess.Popen(
            [*command, "--port", "0"], cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True
        )
        assert process.stderr is not None
        said = iter(process.stderr.readline, "")
        found = next(filter(None, (re.search(r"running on (\S+)", line) for line in said)))
        yield found[1]
        process.terminate()
        process.stderr.read()
        process.stderr.close()
        process.wait(TIME_LIMIT_S)


def predicted(backend: str, *pictures: str) -> list[dict[str, Any]]:
    tasks = [{"id": number, "data": {"picture": each}} for number, each in enumerate(pictures)]
    asked = {"tasks": tasks, "label_config": CONFIG, "project": "1.2", "params": {"context": None}}
    answer = httpx.post(f"{backend}/predict", json=asked, timeout=TIME_LIMIT_S)
    assert answer.status_code == 200
    results: list[dict[str, Any]] = answer.json()["results"]
    return results


def test_it_says_that_it_is_there_and_which_model_answers(backend: str) -> None:
    assert httpx.get(f"{backend}/health").json()["status"] == "UP"
    asked = {"project": "1.2", "schema": CONFIG, "hostname": "", "access_token": ""}
    said = httpx.post(f"{backend}/setup", json=asked, timeout=TIME_LIMIT_S).json()
    assert said == {"model_version": "tiny 0123456789ab"}


def test_a_task_gets_boxes_in_the_words_of_its_configuration(backend: str) -> None:
    (prediction,) = predicted(backend, "/data/upload/1/a.png?x=1")
    assert (prediction["model_version"], prediction["score"]) == ("tiny 0123456789ab", 1.0)
    found = [
        (each["from_name"], each["to_name"], each["type"], each["value"]["rectanglelabels"])
        for each in prediction["result"]
    ]
    boxes = ("boxes", "photo", "rectanglelabels")
    assert found == [(*boxes, ["Bird"]), (*boxes, ["Pet"])]
    value = prediction["result"][0]["value"]
    assert [value[side] for side in ("x", "y", "width", "height")] == [25.0, 50.0, 50.0, 50.0]


def test_whatever_host_a_task_names_only_label_studio_is_asked(backend: str) -> None:
    path = "/data/upload/1/a.png?x=1"
    for address in (f"http://192.0.2.1{path}", f"//192.0.2.1{path}", f"http://192.0.2.1/{path}"):
        (prediction,) = predicted(backend, address)
        assert len(prediction["result"]) == 2


def test_a_photograph_that_is_not_there_costs_its_own_task_only(backend: str) -> None:
    none, there = predicted(backend, "/data/none.png", "/data/upload/1/a.png?x=1")
    assert (none["result"], len(there["result"])) == ([], 2)


def test_a_configuration_without_boxes_gets_nothing() -> None:
    assert labelling_of("<View><Image name='i' value='$i'/></View>") is None


def test_the_example_of_the_labelling_is_read(tmp_path: Path) -> None:
    labelling = labelling_of(CONFIG)
    assert labelling is not None
    assert labelling.key == "picture"
    assert labelling.labels == {"bird": "Bird", "dog": "Pet", "cat": "Pet", "pet": "Pet"}
