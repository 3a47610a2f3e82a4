"""What export saw in golden photographs, the service finds; and it says what differs where it does not."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from PIL import Image

from export.artifact import Order, finish_artifact
from export.golden import golden_photographs
from model.network.detector import Detector
from service.check import check
from tests.conftest import PROVENANCE
from tests.detectors import noise
from tests.service.conftest import small_settings
from tests.service.golden_files import with_manifest

SIZES = {"wide.jpg": (100, 150), "tall.jpg": (140, 90)}


@pytest.fixture(scope="module")
def shipped(
    detector: Detector, graph: onnx.ModelProto, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A file of export's own, with golden photographs."""
    folder = tmp_path_factory.mktemp("golden")
    for name, (height, width) in SIZES.items():
        pixels = noise(1, (192, 192), seed=3)[0].permute(1, 2, 0).numpy()
        Image.fromarray(pixels).resize((width, height)).save(folder / name, quality=90)
    photographs = golden_photographs([folder / name for name in SIZES])
    path = folder / "model.onnx"
    finish_artifact(graph, detector, path, PROVENANCE, Order(golden=photographs))
    return path


def differences(path: Path) -> dict[str, tuple[str, ...]]:
    return {each.name: each.differences for each in check(small_settings(path))}


def manifest_of(path: Path) -> Any:
    (entry,) = (each for each in onnx.load(path).metadata_props if each.key == "manifest")
    return json.loads(entry.value)


def test_the_service_finds_what_export_saw(shipped: Path) -> None:
    verdicts = check(small_settings(shipped))
    assert [each.name for each in verdicts] == list(SIZES)
    assert all(each.matched == each.expected > 0 for each in verdicts)
    assert all(each.differences == () for each in verdicts)


def test_one_changed_weight_is_found_and_what_it_changed_is_said(
    shipped: Path, tmp_path: Path
) -> None:
    model = onnx.load(shipped)
    weight = next(w for w in model.graph.initializer if w.name == "detector.roi.logits.weight")
    values = numpy_helper.to_array(weight).copy()
    values[0, np.abs(values[0]).argmax()] *= 2  # of the first class
    weight.CopyFrom(numpy_helper.from_array(values, weight.name))
    onnx.save(model, tmp_path / "model.onnx")
    said = [each for found in differences(tmp_path / "model.onnx").values() for each in found]
    assert any(" has score " in each for each in said)
    assert not any("resized" in each for each in said)


@pytest.mark.parametrize(
    ("rule", "is_said"),
    [
        ({"short_side": 56}, lambda each: each.startswith("is resized to")),
        ({"rounding": "floor"}, lambda each: each.startswith("is resized to")),
        ({"interpolation": "bilinear"}, lambda each: "expected" in each),
    ],
)
def test_another_resize_rule_is_found(
    shipped: Path, tmp_path: Path, rule: dict[str, object], is_said: Callable[[str], bool]
) -> None:
    resize = {**manifest_of(shipped)["resize"], **rule}
    changed = with_manifest(shipped, tmp_path / "model.onnx", resize=resize)
    assert any(is_said(each) for found in differences(changed).values() for each in found)


def test_channels_in_another_order_are_found(shipped: Path, tmp_path: Path) -> None:
    golden = manifest_of(shipped)["golden"]
    for photograph in golden["photographs"]:
        photograph["means"] = photograph["means"][::-1]
    changed = with_manifest(shipped, tmp_path / "model.onnx", golden=golden)
    assert all(
        "is decoded or resized otherwise" in found[0] for found in differences(changed).values()
    )


def test_more_detections_than_were_seen_are_found(shipped: Path, tmp_path: Path) -> None:
    golden = manifest_of(shipped)["golden"]
    best = golden["photographs"][0]["detections"].pop(0)
    assert best["score"] > 0.31
    changed = with_manifest(shipped, tmp_path / "model.onnx", golden=golden)
    found = differences(changed)
    assert any("was not seen at export" in each for each in found["wide.jpg"])
    assert found["tall.jpg"] == ()
