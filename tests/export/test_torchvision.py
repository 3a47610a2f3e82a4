"""The exported artifact of torchvision's weights answers as torchvision does, at sizes that need no resizing."""

from dataclasses import replace
from pathlib import Path

import onnx
import pytest
import torch

from export.graph import feed, missing_weights, trace
from export.parity import compare, reference, require
from export.runtime import onnxruntime
from model.config.resize import ResizeRule
from model.importers.torchvision import import_torchvision
from model.network.detector import Detections, Detector
from tests.detectors import with_config
from tests.references import (
    detections,
    matched,
    photograph,
    proposals,
    torchvision_answers,
    torchvision_detector,
)


@pytest.fixture(scope="module")
def ours() -> Detector:
    return import_torchvision(torchvision_detector().state_dict())


@pytest.fixture(scope="module")
def graph(ours: Detector) -> onnx.ModelProto:
    return trace(ours)


@pytest.fixture(scope="module")
def session(graph: onnx.ModelProto) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(
        graph.SerializeToString(), providers=["CPUExecutionProvider"]
    )


@pytest.mark.parametrize(
    ("name", "size"), [("astronaut", (800, 1088)), ("rocket", (1088, 800))], ids=["wide", "tall"]
)
def test_the_artifact_gives_torchvisions_answers(
    session: onnxruntime.InferenceSession, name: str, size: tuple[int, int]
) -> None:
    image = photograph(name, size)
    expected = torchvision_answers(torchvision_detector(), image)
    answers = session.run(None, feed(image[None], torch.tensor([size])))
    got = Detections(*(torch.from_numpy(answer) for answer in answers))
    assert len(set(expected.detections.labels.tolist())) > 10
    assert got.proposal_counts[0, -1] > 20  # of P6, whose anchors stand 61 and 64 apart
    assert len(expected.proposals.boxes) > 500
    assert matched(expected.detections, detections(got)) >= 0.99
    assert matched(expected.proposals, proposals(got)) >= 0.99


@pytest.mark.parametrize("steepness", [1.0, 20.0], ids=["spread", "saturating"])
def test_the_gate_takes_float32s_own_noise_for_no_error(
    ours: Detector, graph: onnx.ModelProto, tmp_path: Path, steepness: float
) -> None:
    """At a steepness of 20 most scores are 1.0, and which of two boxes suppresses the other is a matter of rounding."""
    small = replace(ours.config, resize=ResizeRule(96, 160, "floor", "bilinear"))
    detector, steep = with_config(ours, small), onnx.ModelProto()
    steep.CopyFrom(graph)
    weights = [detector.roi.logits.weight, detector.roi.logits.bias]
    names = ["detector.roi.logits.weight", "detector.roi.logits.bias"]
    with torch.no_grad():
        for weight in weights:
            weight *= steepness
    for tensor in steep.graph.initializer:
        if tensor.name in names:
            value = weights[names.index(tensor.name)].detach().numpy()
            tensor.CopyFrom(onnx.numpy_helper.from_array(value, tensor.name))
    assert missing_weights(detector, steep) == []
    onnx.save(steep, tmp_path / "steep.onnx")
    expected = reference(detector)
    report = compare(expected, tmp_path / "steep.onnx")
    require(report, expected.float32)
    assert report.kinds["detections"].count > 200
