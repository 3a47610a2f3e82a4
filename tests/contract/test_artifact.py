"""What export/ writes is what service/ takes, and a photograph gets one answer whoever asks."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from export.graph import INPUTS, OUTPUTS
from export.manifest import manifest
from model.config.class_names import is_name
from model.network.detector import Detector
from service.artifact.manifest import SCHEMA, read_manifest
from service.artifact.tensors import INPUTS as SERVED_INPUTS
from service.artifact.tensors import OUTPUTS as SERVED_OUTPUTS
from service.artifact.tensors import Outputs
from service.detections import to_image
from service.engine.engine import Engine
from service.errors import InvalidModel
from service.pictures.framing import Frame
from tests.conftest import PROVENANCE
from tests.detectors import FRAMES, noise


@pytest.fixture(scope="module")
def engine(artifact: Path) -> Engine:
    return Engine(artifact, "cpu", 1)


def test_the_tensors_have_the_same_names_on_both_sides() -> None:
    assert tuple(SERVED_INPUTS) == INPUTS
    assert tuple(SERVED_OUTPUTS) == OUTPUTS


def test_the_service_understands_every_key_that_export_writes(
    detector: Detector, engine: Engine
) -> None:
    written = manifest(detector, PROVENANCE, {"images": 14})
    read = read_manifest(json.dumps(written))
    assert read.model_dump(mode="json", by_alias=True) == json.loads(json.dumps(written))
    assert engine.manifest.classes == detector.class_names
    assert engine.manifest.buckets == FRAMES
    assert written["schema"] == SCHEMA


@pytest.mark.parametrize(
    ("key", "value"), [("schema", 4), ("precision", "int4"), ("surprise", 1), ("buckets", [])]
)
def test_a_manifest_that_the_service_does_not_understand_is_refused(
    detector: Detector, key: str, value: object
) -> None:
    written = {**manifest(detector, PROVENANCE, {}), key: value}
    with pytest.raises(InvalidModel):
        read_manifest(json.dumps(written))


def test_the_graph_without_its_manifest_is_refused(graph: onnx.ModelProto, tmp_path: Path) -> None:
    path = tmp_path / "bare.onnx"
    onnx.save(graph, path)
    with pytest.raises(InvalidModel, match="without a manifest"):
        Engine(path, "cpu", 1)


@settings(max_examples=25)
@given(st.data())
def test_a_batch_gives_each_image_the_answer_that_it_gets_alone(
    engine: Engine, data: st.DataObject
) -> None:
    height, width = data.draw(st.sampled_from([*FRAMES, (32, 160)]))
    count = data.draw(st.integers(2, 8))
    images = noise(count, (height, width), seed=data.draw(st.integers(0, 99))).numpy()
    content = st.tuples(st.integers(1, height), st.integers(1, width))
    sizes = np.array(data.draw(st.lists(content, min_size=count, max_size=count)))
    together = engine.run(images, sizes)
    for index in range(count):
        alone = engine.run(images[index : index + 1], sizes[index : index + 1])[0]
        assert_same(together[index], alone)


def assert_same(left: Outputs, right: Outputs) -> None:
    """Equal in count, class, level and order; numbers equal but for the order of float32 sums."""
    for name in ("counts", "labels", "levels", "proposals", "proposal_counts"):
        assert np.array_equal(getattr(left, name), getattr(right, name)), name
    for name in ("boxes", "scores", "proposal_boxes", "proposal_scores"):
        assert np.allclose(getattr(left, name), getattr(right, name), atol=1e-3), name


def test_a_photograph_gets_the_same_detections_from_torch_and_from_the_service(
    detector: Detector, engine: Engine
) -> None:
    pixels, content, original = noise(1, (64, 96), seed=5), (60, 91), (177, 268)
    with torch.inference_mode():
        expected = detector.detect(pixels, torch.tensor([content]))
    frame = Frame(pixels[0].numpy(), content, original, (64, 96))
    got = engine.run(pixels.numpy(), np.array([content]))[0]
    assert got.counts == expected.counts[0] > 10
    ratio_y, ratio_x = content[0] / original[0], content[1] / original[1]
    boxes = expected.boxes[0].numpy() / np.array([ratio_x, ratio_y, ratio_x, ratio_y])
    assert np.allclose(to_image(got.boxes, frame), boxes, atol=1e-2)


def test_an_images_regions_do_not_depend_on_how_many_its_neighbours_have(engine: Engine) -> None:
    images, sizes = noise(2, (64, 96)).numpy(), np.array([[64, 96], [50, 80]])
    regions = [np.array([[4, 4, 40, 30]], np.float32), np.zeros((0, 4), np.float32)]
    more = [regions[0], np.array([[0, 0, 60, 40], [9, 3, 30, 40], [1, 1, 5, 50]], np.float32)]
    alone, beside = engine.run(images, sizes, regions), engine.run(images, sizes, more)
    assert alone.region_boxes.shape == (2, 1, 4)
    assert beside.region_boxes.shape == (2, 3, 4)
    np.testing.assert_allclose(beside.region_boxes[0, :1], alone.region_boxes[0], atol=1e-3)
    assert not beside.region_scores[0, 1:].any()
    assert_same(beside[1], engine.run(images[1:], sizes[1:])[0])


@pytest.mark.parametrize(
    "name", ["cat", "hot dog", "", " cat", "\ufeffcat", "c\tat", "\u200b", "自転車"]
)
def test_a_class_may_have_the_same_names_on_both_sides(detector: Detector, name: str) -> None:
    written = {**manifest(detector, PROVENANCE, {}), "classes": [name, "dog", "bird"]}
    if is_name(name):
        assert read_manifest(json.dumps(written)).classes[0] == name
    else:
        with pytest.raises(InvalidModel, match=r"classes\.0"):
            read_manifest(json.dumps(written))
