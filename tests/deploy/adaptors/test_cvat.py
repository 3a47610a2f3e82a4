"""CVAT's function, called as nuclio calls it, with a real server behind it."""

import ast
import base64
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import onnx
import pytest
import yaml

from deploy.adaptors.cvat.main import handler, init_context
from tests.places import ROOT
from tests.service.images import png
from tests.service.process import serving
from tests.service.tiny_model import write_tiny_model

FOLDER = ROOT / "deploy" / "adaptors" / "cvat"


@dataclass
class Logger:
    said: list[str] = field(default_factory=list)

    def info(self, text: str) -> None:
        self.said.append(text)

    error = info


class Context:
    """What nuclio's context has, of what functions for CVAT use."""

    Response = SimpleNamespace

    def __init__(self) -> None:
        self.user_data = SimpleNamespace()
        self.logger = Logger()


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    model = write_tiny_model(tmp_path_factory.mktemp("model") / "tiny.onnx")
    with serving(FPN_MODEL=str(model), FPN_DEVICE="cpu") as server:
        server.line_with("event=ready")
        yield f"http://127.0.0.1:{server.port()}"


def called(url: str, monkeypatch: pytest.MonkeyPatch, **body: Any) -> Any:
    monkeypatch.setenv("FPN_URL", url)
    context = Context()
    init_context(context)
    return handler(context, SimpleNamespace(body=body))


def in_base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def test_rectangles_above_the_threshold_come_back(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = in_base64(png(30, 45, (255, 200, 0)))
    reply = called(url, monkeypatch, image=image, threshold=0.6)
    assert (reply.status_code, reply.content_type) == (200, "application/json")
    assert json.loads(reply.body) == [
        {
            "confidence": "1.0",
            "label": "bird",
            "points": [11.25, 15.0, 33.75, 30.0],
            "type": "rectangle",
        }
    ]
    assert len(json.loads(called(url, monkeypatch, image=image, threshold=0).body)) == 2


def test_a_refusal_keeps_its_status_and_its_words(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    reply = called(url, monkeypatch, image=in_base64(b"junk"))
    assert reply.status_code == 400
    assert json.loads(reply.body)["type"] == "/problems/invalid-image"


def test_the_function_names_its_handler_and_the_classes_of_the_model_that_ships() -> None:
    function = yaml.safe_load((FOLDER / "function.yaml").read_text())
    module, name = function["spec"]["handler"].split(":")
    assert f"def {name}(" in (FOLDER / f"{module}.py").read_text()
    model = onnx.load(ROOT / "deploy/models/default/model.onnx", load_external_data=False)
    (manifest,) = (json.loads(p.value) for p in model.metadata_props if p.key == "manifest")
    spec = json.loads(function["metadata"]["annotations"]["spec"])
    assert [each["name"] for each in spec] == manifest["classes"]


def test_the_function_needs_nothing_but_the_standard_library() -> None:
    tree = ast.parse((FOLDER / "main.py").read_text())
    names = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in (
            node.names if isinstance(node, ast.Import) else [ast.alias(node.module or "")]
        )
    }
    assert {name.partition(".")[0] for name in names} <= sys.stdlib_module_names
