"""The exported artifact of torchvision's weights answers as torchvision does, at sizes that need no resizing."""

import pytest
import torch

from export.graph import feed, trace
from export.runtime import onnxruntime
from model.importers.torchvision import import_torchvision
from model.network.detector import Detections
from tests.references import (
    detections,
    matched,
    photograph,
    proposals,
    torchvision_answers,
    torchvision_detector,
)


@pytest.fixture(scope="module")
def session() -> onnxruntime.InferenceSession:
    graph = trace(import_torchvision(torchvision_detector().state_dict()))
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
    assert got.proposal_counts[0, -1] > 30  # of P6, whose anchors stand 61 and 64 apart
    assert len(expected.proposals.boxes) > 500
    assert matched(expected.detections, detections(got)) >= 0.99
    assert matched(expected.proposals, proposals(got)) >= 0.99
