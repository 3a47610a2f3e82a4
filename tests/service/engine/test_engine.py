from pathlib import Path

import numpy as np
import onnx
import pytest

from service.artifact.tensors import OUTPUTS
from service.engine.engine import Engine
from service.engine.providers import CPU, CUDA, Device
from service.engine.runtime import ort
from service.errors import InvalidModel
from tests.service.tiny_model import MANIFEST, write_tiny_model


def frames(*colours: tuple[int, int, int]) -> np.ndarray:
    images = np.zeros((len(colours), 3, 32, 64), np.uint8)
    images[:, :, 0, 0] = colours
    return images


def test_a_model_runs_and_its_outputs_can_be_taken_apart_by_image(tiny_path: Path) -> None:
    engine = Engine(tiny_path, "cpu", 1)
    sizes = np.array([[32, 60], [30, 64]])
    outputs = engine.run(frames((255, 0, 0), (51, 100, 0)), sizes)
    assert outputs.boxes.shape == (2, 4, 4)
    second = outputs[1]
    assert second.boxes[0].tolist() == [16, 15, 48, 30]
    assert second.scores[0] == pytest.approx(0.2)
    assert int(second.counts) == 2


def test_an_image_has_the_same_answer_in_a_batch_as_alone(tiny_path: Path) -> None:
    engine = Engine(tiny_path, "cpu", 1)
    images, sizes = frames((255, 9, 0), (51, 100, 0)), np.array([[32, 60], [30, 64]])
    together = engine.run(images, sizes)
    for index in range(2):
        alone = engine.run(images[index : index + 1], sizes[index : index + 1])
        for name in OUTPUTS:
            one, other = getattr(together[index], name), getattr(alone[0], name)
            np.testing.assert_array_equal(one, other)


def test_auto_takes_the_cpu_where_onnx_runtime_has_no_cuda(tiny_path: Path) -> None:
    if CUDA in ort.get_available_providers():
        pytest.skip("this onnxruntime has CUDA")
    engine = Engine(tiny_path, "auto", 1)
    assert (engine.provider, engine.device) == (CPU, "cpu")


@pytest.mark.parametrize("device", ["cuda", "tensorrt"])
def test_a_gpu_that_cannot_be_had_is_refused_in_one_line(tiny_path: Path, device: Device) -> None:
    if CUDA in ort.get_available_providers():
        pytest.skip("this onnxruntime has CUDA")
    with pytest.raises(InvalidModel, match=r"install fpn-serve\[gpu\]") as caught:
        Engine(tiny_path, device, 1)
    assert "\n" not in caught.value.detail


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidModel, match=r"none\.onnx: no such file"):
        Engine(tmp_path / "none.onnx", "cpu", 1)


@pytest.mark.parametrize("content", [b"", b"\xff\xd8\xff\xe0 a photograph", b"PK\x03\x04"])
def test_what_is_not_onnx_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(InvalidModel) as caught:
        Engine(path, "cpu", 1)
    assert str(path) in caught.value.detail
    assert "\n" not in caught.value.detail


@pytest.mark.parametrize(
    ("domain", "operator", "said"),
    [
        ("made.up", "Foo", "made.up:Foo.* is not a registered"),
        ("nobody.imports", "Foo", "No opset import for domain 'nobody.imports'"),
        ("", "FooBar", "No Op registered for FooBar"),
    ],
)
def test_an_operator_that_onnx_runtime_lacks_is_named(
    tmp_path: Path, tiny_path: Path, domain: str, operator: str, said: str
) -> None:
    model = onnx.load(tiny_path)
    model.graph.node[-1].domain, model.graph.node[-1].op_type = domain, operator
    model.opset_import.add(domain="made.up", version=1)
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(InvalidModel, match=rf"ONNX Runtime [\d.]+ lacks \({said}.*\): expected"):
        Engine(tmp_path / "model.onnx", "cpu", 1)


@pytest.mark.parametrize(
    ("field", "said"),
    [("opset", "Opset 999 is under"), ("ir", "Unsupported model IR version: 999")],
)
def test_a_file_of_a_newer_onnx_says_to_install_a_newer_onnx_runtime(
    tmp_path: Path, tiny_path: Path, field: str, said: str
) -> None:
    model = onnx.load(tiny_path)
    if field == "ir":
        model.ir_version = 999
    else:
        model.opset_import[0].version = 999
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(InvalidModel, match=f"{said}.*or install a newer onnxruntime"):
        Engine(tmp_path / "model.onnx", "cpu", 1)


def test_a_truncated_model_is_refused(tmp_path: Path, tiny_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(tiny_path.read_bytes()[:-200])
    with pytest.raises(InvalidModel):
        Engine(path, "cpu", 1)


def test_an_onnx_file_of_somebody_else_is_refused(tmp_path: Path, tiny_path: Path) -> None:
    model = onnx.load(tiny_path)
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(InvalidModel, match="without a manifest"):
        Engine(tmp_path / "model.onnx", "cpu", 1)


def test_a_manifest_that_is_too_new_is_refused_with_the_file_named(tmp_path: Path) -> None:
    path = write_tiny_model(tmp_path / "model.onnx", {**MANIFEST, "schema": 4})
    with pytest.raises(InvalidModel, match=r"model\.onnx: .* got 4: upgrade the server"):
        Engine(path, "cpu", 1)


def test_an_output_of_another_name_is_refused(tmp_path: Path, tiny_path: Path) -> None:
    model = onnx.load(tiny_path)
    del model.graph.output[0]
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(InvalidModel, match=r"expected outputs \['boxes', .* got \['counts'"):
        Engine(tmp_path / "model.onnx", "cpu", 1)


def test_an_output_of_another_rank_is_refused(tmp_path: Path, tiny_path: Path) -> None:
    model = onnx.load(tiny_path)
    graph = model.graph
    (counts,) = (node for node in graph.node if node.output[0] == "counts")
    counts.input[0] = "twos"  # not squeezed: [N, 1]
    (output,) = (value for value in graph.output if value.name == "counts")
    output.type.tensor_type.shape.dim.add().dim_value = 1
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(InvalidModel, match="output counts: expected .* rank 1, got .* rank 2"):
        Engine(tmp_path / "model.onnx", "cpu", 1)
