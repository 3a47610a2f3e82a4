"""The files that ship with the repository: each is what its manifest says, and finds the cat of the README."""

import json
from pathlib import Path

import onnx
import pytest

from export.precision.accuracy import LARGEST_DROP, faults
from service.offline.__main__ import main
from tests.places import ROOT

SHIPPED = sorted((ROOT / "deploy/models").rglob("*.onnx"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_a_shipped_model_finds_the_cat(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(path), str(ROOT / "docs/cat.png"), "--device", "cpu"]) == 0
    assert "cat" in capsys.readouterr().out.split("cat.png", 1)[1]


def test_the_shipped_int8_model_passed_its_gate() -> None:
    (entry,) = onnx.load(ROOT / "deploy/models/default/model-int8.onnx").metadata_props
    content = json.loads(entry.value)
    gate = content["gate"]
    assert (content["precision"], gate["kind"]) == ("int8", "accuracy")
    assert gate["report"]["images"] > 500
    assert faults(gate["report"]) == []
    spoilt = gate["report"] | {"AP": gate["report"]["AP_float32"] - 2 * LARGEST_DROP}
    assert faults(spoilt)
