import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from export.artifact import finish_artifact
from export.graph import feed
from export.manifest import Provenance
from export.parity import ParityError
from export.runtime import onnxruntime
from model.network.detector import Detector
from tests.detectors import noise, small_detector

PROVENANCE = Provenance(name="small")


def test_the_artifact_holds_its_manifest_with_the_comparison(artifact: Path) -> None:
    session = onnxruntime.InferenceSession(str(artifact), providers=["CPUExecutionProvider"])
    content = json.loads(session.get_modelmeta().custom_metadata_map["manifest"])
    assert content["schema"] == 3
    assert content["precision"] == "float32"
    assert content["gate"] == {"kind": "parity", "report": {}, "float_layers": []}
    assert content["name"] == "small"
    assert content["accuracy"] == {"AP": 0.25}
    assert content["parity"]["images"] == 14
    assert content["parity"]["matched_detections"] >= 0.99


def test_an_artifact_that_fails_the_comparison_leaves_the_old_file_and_nothing_else(
    detector: Detector, graph: onnx.ModelProto, tmp_path: Path
) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"the one before")
    changed = small_detector()
    with torch.no_grad():
        changed.rpn.conv.weight[0, 0, 0, 0] += 1.0
    with pytest.raises(ParityError):
        finish_artifact(graph, changed, path, PROVENANCE)
    assert path.read_bytes() == b"the one before"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("frame", [(64, 96), (128, 64), (32, 32)])
def test_the_graph_serves_any_batch_and_frame(
    artifact: Path, detector: Detector, count: int, frame: tuple[int, int]
) -> None:
    session = onnxruntime.InferenceSession(str(artifact), providers=["CPUExecutionProvider"])
    images = noise(count, frame, seed=count)
    sizes = torch.tensor([[frame[0] - 3 * i, frame[1] - i] for i in range(count)])
    scores, counts = session.run(["scores", "counts"], feed(images, sizes))
    with torch.inference_mode():
        expected = detector.detect(images, sizes)
    for row, (got, wanted) in enumerate(zip(counts, expected.counts.tolist(), strict=True)):
        assert abs(got - wanted) <= 1  # sums in another order may move a score over the threshold
        common = min(got, wanted)
        assert np.allclose(scores[row, :common], expected.scores[row, :common].numpy(), atol=1e-4)
