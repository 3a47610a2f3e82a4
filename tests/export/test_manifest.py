import json
from pathlib import Path

import onnx
import torch

from export.manifest import (
    Judgement,
    Made,
    Provenance,
    described,
    manifest,
    weights_digest,
)
from export.measured import Measured
from model.network.detector import Detector
from tests.detectors import CLASS_NAMES, FRAMES, small_detector


def test_the_manifest_states_the_detectors_own_settings(detector: Detector) -> None:
    content = manifest(detector, Provenance(name="small", data="made"), {"images": 14})
    assert content["classes"] == list(CLASS_NAMES)
    assert content["buckets"] == [list(frame) for frame in FRAMES]
    assert content["max_detections"] == 30
    assert content["max_proposals"] == 40
    assert content["suppression"] == {"score": 0.05, "nms": 0.5, "proposal_nms": 0.7}
    assert content["levels"] == [
        {"name": f"P{level}", "stride": 2**level} for level in (2, 3, 4, 5, 6)
    ]
    assert content["parity"] == {"images": 14}
    assert content["category_ids"] == [1, 2, 3]


def test_the_manifest_states_the_data_sets_ids_and_what_was_measured() -> None:
    other = small_detector()
    other.category_ids = (17, 18, 16)
    point = {"score": 0.4, "precision": 0.9, "recall": 0.5}
    measured = Measured({"AP": 0.25}, {"every": point, "classes": [point, None, point]})
    provenance = Provenance("small", recipe="seven steps", source="nothing", measured=measured)
    content = manifest(other, provenance, {}, Made(stored="float16", golden={"photographs": []}))
    assert content["category_ids"] == [17, 18, 16]
    assert content["thresholds"] == measured.thresholds
    assert content["golden"] == {"photographs": []}
    weights = content["weights"]
    assert isinstance(weights, dict)
    assert (weights["recipe"], weights["source"]) == ("seven steps", "nothing")
    assert weights["stored"] == "float16"


def test_what_was_measured_on_the_graph_stands_for_what_was_on_the_checkpoint(
    detector: Detector,
) -> None:
    judged = Judgement("accuracy", measured=Measured({"AP": 0.24}))
    provenance = Provenance("small", measured=Measured({"AP": 0.25}))
    content = manifest(detector, provenance, {}, Made("int8", judgement=judged))
    assert content["accuracy"] == {"AP": 0.24}


def test_the_version_follows_the_weights_unless_given(detector: Detector) -> None:
    other = small_detector()
    assert weights_digest(other) == weights_digest(detector)
    with torch.no_grad():
        other.roi.logits.bias[0] += 1e-3
    assert weights_digest(other) != weights_digest(detector)
    assert manifest(other, Provenance(name="x"), {})["version"] == weights_digest(other)
    assert manifest(other, Provenance(name="x", version="7"), {})["version"] == "7"


def test_a_described_copy_has_only_the_new_manifest_and_survives_the_file(tmp_path: Path) -> None:
    model = onnx.ModelProto(ir_version=8)
    model.metadata_props.add(key="manifest", value="old")
    onnx.save(described(model, {"schema": 1}), tmp_path / "m.onnx")
    read = onnx.load(tmp_path / "m.onnx")
    assert {p.key: json.loads(p.value) for p in read.metadata_props} == {"manifest": {"schema": 1}}
    assert model.metadata_props[0].value == "old"
