"""The files that ship with the repository: each is what its manifest says, and finds the cat of the README."""

import json
import subprocess
from pathlib import Path
from typing import Any

import onnx
import pytest

from export.card import Described, model_card
from export.manifest import weights_digest
from export.precision.accuracy import LARGEST_DROP, faults
from model.network.checkpoint import load_detector
from service.offline.__main__ import main
from tests.places import ROOT

MODELS = ROOT / "deploy/models/default"
SHIPPED = sorted((ROOT / "deploy/models").rglob("*.onnx"))


def manifest_of(path: Path) -> dict[str, Any]:
    (entry,) = onnx.load(path).metadata_props
    content: dict[str, Any] = json.loads(entry.value)
    return content


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_a_shipped_model_finds_the_cat(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(path), str(ROOT / "docs/cat.jpg"), "--device", "cpu"]) == 0
    assert "cat" in capsys.readouterr().out.split("cat.jpg", 1)[1]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_a_shipped_model_has_all_that_a_manifest_can_say(path: Path) -> None:
    content = manifest_of(path)
    assert {key for key, value in content.items() if value in (None, {}, [])} <= {"weight_bits"}
    assert all(content["weights"].values())
    assert content["reference"]["images"] > 500
    assert sum(len(p["detections"]) for p in content["golden"]["photographs"]) >= 5


def test_the_shipped_models_are_of_the_shipped_checkpoint() -> None:
    detector = load_detector(MODELS / "checkpoint.pt")
    for path in SHIPPED:
        content = manifest_of(path)
        assert content["version"] == weights_digest(detector)
        assert content["category_ids"] == list(detector.category_ids)


def test_the_model_card_is_in_step_with_its_files() -> None:
    files = [Described.read(MODELS / name) for name in ("model.onnx", "model-int8.onnx")]
    card = model_card((MODELS / "card.md").read_text("utf-8"), files)
    assert (MODELS / "MODEL_CARD.md").read_text("utf-8") == card, "run make card"


def test_the_repository_stays_small() -> None:
    tracked = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.split("\0")
    if not any(tracked):
        pytest.skip("not a git checkout")
    sizes = [(ROOT / name).stat().st_size for name in tracked if name and (ROOT / name).is_file()]
    assert sum(sizes) < 34_000_000


def test_the_shipped_int8_model_passed_its_gate() -> None:
    content = manifest_of(MODELS / "model-int8.onnx")
    gate = content["gate"]
    assert (content["precision"], gate["kind"]) == ("int8", "accuracy")
    assert gate["report"]["images"] > 500
    assert faults(gate["report"]) == []
    spoilt = gate["report"] | {"AP": gate["report"]["AP_float32"] - 2 * LARGEST_DROP}
    assert faults(spoilt)
