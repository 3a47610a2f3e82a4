"""Photographs that the artifact carries with its answers."""

import base64
import io
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from PIL import Image

from export.golden import LEAST_SCORE, MAX_BYTES, GoldenError, golden, golden_photographs
from model.data.faults import DataError
from model.data.transforms import scale_boxes
from model.network.detector import Detector
from tests.detectors import noise


def jpeg(path: Path, size: tuple[int, int] = (90, 130), seed: int = 3) -> Path:
    """A picture of (height, width) `size` in which the small detector finds things."""
    pixels = noise(1, (128, 192), seed)[0].permute(1, 2, 0).numpy()
    Image.fromarray(pixels).resize(size[::-1]).save(path, quality=90)
    return path


def test_a_golden_photograph_has_the_detectors_answer_in_its_own_pixels(
    detector: Detector, graph: onnx.ModelProto, tmp_path: Path
) -> None:
    photographs = golden_photographs([jpeg(tmp_path / "a.jpg")])
    content = golden(graph, detector.config.resize, "float32", photographs)
    assert content is not None
    (seen,) = content["photographs"]
    assert (seen["content"], seen["bucket"]) == ([64, 92], [64, 96])
    image = Image.open(io.BytesIO(base64.b64decode(seen["jpeg"]))).convert("RGB")
    resized = np.asarray(image.resize((92, 64), Image.Resampling.BILINEAR))
    assert seen["means"] == pytest.approx(resized.mean(axis=(0, 1)), abs=1e-3)
    frame = torch.zeros((1, 3, 64, 96), dtype=torch.uint8)
    frame[0, :, :, :92] = torch.from_numpy(resized.copy()).permute(2, 0, 1)
    with torch.inference_mode():
        expected = detector.detect(frame, torch.tensor([[64, 92]]))
    kept = expected.scores[0] >= LEAST_SCORE
    assert 0 < kept.sum() == len(seen["detections"])
    boxes = scale_boxes(expected.boxes[0, kept], (64, 92), (90, 130))
    for place, found in enumerate(seen["detections"]):
        assert found["label"] == expected.labels[0, place]
        assert found["score"] == pytest.approx(float(expected.scores[0, place]), abs=1e-4)
        assert found["box"] == pytest.approx(boxes[place].tolist(), abs=0.02)


def test_without_photographs_the_manifest_has_none(
    detector: Detector, graph: onnx.ModelProto
) -> None:
    assert golden(graph, detector.config.resize, "float32", []) is None


def test_photographs_in_which_nothing_is_found_are_refused(
    detector: Detector, graph: onnx.ModelProto, tmp_path: Path
) -> None:
    """They would tell nothing: whatever a server computes, it finds nothing in them either."""
    Image.new("RGB", (64, 64)).save(tmp_path / "black.jpg")
    photographs = golden_photographs([tmp_path / "black.jpg"])
    blind = onnx.ModelProto()
    blind.CopyFrom(graph)
    for node in blind.graph.node:
        node.output[:] = [f"{o}_before" if o == "scores" else o for o in node.output]
        node.input[:] = [f"{i}_before" if i == "scores" else i for i in node.input]
    half = onnx.numpy_helper.from_array(np.array(0.01, np.float32), "one_percent")
    blind.graph.initializer.append(half)
    blind.graph.node.append(onnx.helper.make_node("Mul", ["scores_before", half.name], ["scores"]))
    with pytest.raises(GoldenError, match="finds nothing of score"):
        golden(blind, detector.config.resize, "float32", photographs)


def test_photographs_too_large_together_are_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    paths = []
    for name in ("a.jpg", "b.jpg"):
        pixels = rng.integers(0, 256, (150, 200, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / name, quality=95)
        paths.append(tmp_path / name)
    assert max(path.stat().st_size for path in paths) < MAX_BYTES
    with pytest.raises(GoldenError, match=f"at most {MAX_BYTES} bytes together, got "):
        golden_photographs(paths)


def test_a_photograph_that_does_not_decode_is_named(tmp_path: Path) -> None:
    path = jpeg(tmp_path / "cut.jpg")
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(DataError, match=r"cut\.jpg: cannot be decoded"):
        golden_photographs([path])
    with pytest.raises(DataError, match=r"none\.jpg: cannot be decoded"):
        golden_photographs([tmp_path / "none.jpg"])


def test_a_picture_of_another_format_is_refused(tmp_path: Path) -> None:
    Image.new("RGB", (9, 9)).save(tmp_path / "a.png")
    with pytest.raises(GoldenError, match="expected a JPEG, got PNG"):
        golden_photographs([tmp_path / "a.png"])


def test_two_photographs_of_one_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    paths = [jpeg(tmp_path / "a.jpg"), jpeg(tmp_path / "other" / "a.jpg")]
    with pytest.raises(GoldenError, match="file names differ"):
        golden_photographs(paths)


def test_a_file_name_that_no_server_takes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GoldenError, match="file name of printable characters"):
        golden_photographs([jpeg(tmp_path / "a.jpg").rename(tmp_path / "a\n.jpg")])
