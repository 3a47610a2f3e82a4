import copy
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from export.artifact import Order, finish_artifact, write_artifact
from export.graph import feed, with_plain_convolutions
from export.manifest import Provenance, weights_digest
from export.parity import ParityError
from export.runtime import onnxruntime
from model.network.detector import Detector
from model.network.halves import with_halved_weights
from model.network.roi import RoiHead
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


def test_weights_stored_in_float16_are_half_the_file_and_answer_as_torch_with_what_is_kept(
    detector: Detector, artifact: Path, tmp_path: Path
) -> None:
    path = tmp_path / "model.onnx"
    outcome = write_artifact(detector, path, PROVENANCE, Order(stored="float16"))
    assert path.stat().st_size < 0.52 * artifact.stat().st_size
    content = json.loads(onnx.load(path).metadata_props[0].value)
    assert content["weights"]["stored"] == "float16"
    assert content["version"] == weights_digest(detector)
    assert outcome.reports["float32"].kinds["detections"].matched >= 0.99
    assert content["parity"]["stored"]["mean_score_difference"] > 0
    kept = with_halved_weights(with_plain_convolutions(detector))
    images, sizes = noise(2, (64, 96), seed=7), torch.tensor([[64, 96], [50, 80]])
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (scores,) = session.run(["scores"], feed(images, sizes))
    with torch.inference_mode():
        expected = kept.detect(images, sizes).scores.numpy()
    assert np.allclose(scores, expected, atol=1e-4)


def test_weights_that_float16_loses_are_refused(detector: Detector, tmp_path: Path) -> None:
    """So small that float16 has two digits of them, and the next layer makes up for it."""
    fine = copy.deepcopy(detector)
    assert isinstance(fine.roi, RoiHead)
    with torch.no_grad():
        fine.roi.fc1.weight.mul_(1e-6)
        fine.roi.fc1.bias.mul_(1e-6)
        fine.roi.fc2.weight.mul_(1e6)
    with pytest.raises(ParityError, match="asked"):
        write_artifact(fine, tmp_path / "model.onnx", PROVENANCE, Order(stored="float16"))
    assert list(tmp_path.iterdir()) == []


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
