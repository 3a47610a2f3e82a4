"""float16 and int8: what is lowered, what stays, and the gates before a file gets its name."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from PIL import Image

from export.__main__ import main
from export.artifact import Order, finish_artifact
from export.graph import feed
from export.manifest import Provenance
from export.parity import FLOAT16
from export.photographs import FEWEST_CALIBRATED, calibration_photographs, framed
from export.precision.accuracy import AccuracyError, AccuracyGate, faults
from export.precision.half import halved
from export.precision.kept_layers import KEPT_UNJUDGED
from export.precision.network import Network
from export.precision.quantise import RUN, Quantizer
from export.runtime import onnxruntime
from model.data.faults import DataError
from model.network.checkpoint import save_checkpoint
from model.network.detector import Detector
from tests.detectors import noise

PROVENANCE = Provenance(name="small")


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("photographs")
    for number, pixels in enumerate(noise(FEWEST_CALIBRATED, (64, 96), seed=9)):
        Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(folder / f"{number:02}.png")
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def validation(detector: Detector, photographs: list[Path]) -> tuple[Path, Path]:
    """A COCO file of the photographs whose ground truth is what float32 finds best in them."""

    images: list[dict[str, object]] = []
    annotations: list[dict[str, object]] = []
    for number, (path, (pixels, sizes)) in enumerate(
        zip(photographs, framed(photographs, detector.config.resize), strict=True), start=1
    ):
        images.append({"id": number, "file_name": path.name, "height": 64, "width": 96})
        with torch.inference_mode():
            found = detector.detect(pixels, sizes)
        for box, label in zip(
            found.boxes[0, :4].tolist(), found.labels[0, :4].tolist(), strict=True
        ):
            x1, y1, x2, y2 = box
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": label + 1,
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": (x2 - x1) * (y2 - y1),
                }
            )
    categories = [{"id": k + 1, "name": name} for k, name in enumerate(detector.class_names)]
    document = {"images": images, "annotations": annotations, "categories": categories}
    folder = photographs[0].parent
    (folder / "truth.json").write_text(json.dumps(document))
    return folder / "truth.json", folder


@pytest.fixture
def judged(photographs: list[Path], validation: tuple[Path, Path]) -> Order:
    """For int8 behind its accuracy gate."""
    return Order("int8", calibration=photographs, evaluation=validation)


def test_the_network_is_the_convolutions_and_the_connected_layers_and_no_box_arithmetic(
    graph: onnx.ModelProto,
) -> None:
    network = Network(graph)
    kinds = [node.op_type for node in graph.graph.node if node.name in network.nodes]
    # ResNet-18: 20; laterals and outputs: 8; three in the proposal head for each of five levels
    assert kinds.count("Conv") == 20 + 8 + 15
    assert kinds.count("Gemm") == 4
    assert kinds.count("Resize") == 3
    assert kinds.count("Add") == 8 + 3  # residual blocks; merged maps
    assert not {"RoiAlign", "NonMaxSuppression", "TopK", "Exp", "Softmax"}.intersection(kinds)


def test_a_layer_reaches_the_results_behind_it_only(graph: onnx.ModelProto) -> None:
    network = Network(graph)
    stem, last = network.layers[0], network.layers[-1]
    # P2..P5, and logits and deltas of five levels; the second stage is behind RoIAlign
    assert len(network.results_of(stem)) == 4 + 10
    assert len(network.results_of(last)) == 1
    assert len(network.results()) == 4 + 10 + 2


def test_float16_keeps_inputs_outputs_and_box_arithmetic_in_float32(graph: onnx.ModelProto) -> None:
    half = halved(graph)
    halves = {t.name for t in half.graph.initializer if t.data_type == onnx.TensorProto.FLOAT16}
    weighted = [n for n in half.graph.node if n.op_type in ("Conv", "Gemm")]
    assert all(node.input[1] in halves for node in weighted)
    assert [o.type.tensor_type.elem_type for o in half.graph.output] == [
        o.type.tensor_type.elem_type for o in graph.graph.output
    ]
    network = Network(graph)
    typed = onnx.shape_inference.infer_shapes(half)
    halves |= {
        v.name
        for v in typed.graph.value_info
        if v.type.tensor_type.elem_type == onnx.TensorProto.FLOAT16
    }
    outside = [n for n in half.graph.node if n.name not in network.nodes and n.op_type != "Cast"]
    assert len(outside) > 300
    assert not halves.intersection(name for n in outside for name in [*n.input, *n.output])


def test_float16_passes_its_own_comparison_with_torch(
    graph: onnx.ModelProto, detector: Detector, tmp_path: Path
) -> None:
    outcome = finish_artifact(graph, detector, tmp_path / "m.onnx", PROVENANCE, Order("float16"))
    content = manifest_of(tmp_path / "m.onnx")
    assert (content["precision"], content["weights"]["stored"]) == ("float16", "float16")
    found = outcome.reports["float16"].kinds["detections"]
    assert found.matched >= FLOAT16.bars["detections"].matched


def test_an_int8_artifact_says_what_it_was_judged_on(
    graph: onnx.ModelProto,
    detector: Detector,
    judged: Order,
    tmp_path: Path,
) -> None:
    lenient = replace(judged, largest_drop=100.0)
    finish_artifact(graph, detector, tmp_path / "m.onnx", PROVENANCE, lenient)
    content = manifest_of(tmp_path / "m.onnx")
    assert content["precision"] == "int8"
    assert content["gate"]["kind"] == "accuracy"
    assert content["gate"]["report"]["images"] == len(judged.calibration)
    assert content["gate"]["report"]["AP_float32"] > 80


def test_int8_that_nobody_judges_keeps_its_most_sensitive_runs(
    graph: onnx.ModelProto, detector: Detector, photographs: list[Path], tmp_path: Path
) -> None:
    order = Order("int8", calibration=photographs)
    judgement = finish_artifact(
        graph, detector, tmp_path / "m.onnx", PROVENANCE, order
    ).made.judgement
    assert judgement.gate == "off"
    assert len(judgement.float_layers) == KEPT_UNJUDGED * RUN


def test_int8_that_finds_too_little_is_refused_and_leaves_the_old_file(
    graph: onnx.ModelProto, detector: Detector, judged: Order, tmp_path: Path
) -> None:
    """Here no int8 would find enough: it would have to find more than float32."""
    strict = replace(judged, largest_drop=-1.0, kept=())
    path = tmp_path / "m.onnx"
    path.write_bytes(b"the one before")
    with pytest.raises(AccuracyError, match=r"AP is \d"):
        finish_artifact(graph, detector, path, PROVENANCE, strict)
    assert path.read_bytes() == b"the one before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_bad_quantisation_misses_the_gate(
    graph: onnx.ModelProto, detector: Detector, judged: Order
) -> None:
    assert judged.evaluation is not None
    gate = AccuracyGate.of(graph, detector, judged.evaluation)
    feeds = [feed(*each) for each in framed(judged.calibration, detector.config.resize)]
    whole = Quantizer(graph, feeds).quantised()
    for tensor in whole.graph.initializer:  # as if calibrated on images a hundred times as dark
        if tensor.name.endswith("_scale") and not tensor.dims:
            values = onnx.numpy_helper.to_array(tensor) / 100
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    missed = gate.verdict(whole, detector).missed
    assert len(missed) == 2


@pytest.mark.parametrize(
    ("ap", "ap50", "missed"), [(30.0, 50.0, 0), (29.5, 49.5, 0), (29.4, 50.0, 1), (29.0, 49.0, 2)]
)
def test_the_gate_allows_half_a_point_of_each(ap: float, ap50: float, missed: int) -> None:
    report = {"AP": ap, "AP_float32": 30.0, "AP50": ap50, "AP50_float32": 50.0}
    assert len(faults(report)) == missed


def test_too_few_calibration_photographs_are_refused(
    photographs: list[Path], tmp_path: Path
) -> None:
    for path in photographs[:-1]:
        (tmp_path / path.name).write_bytes(path.read_bytes())
    with pytest.raises(DataError, match=f"at least {FEWEST_CALIBRATED} photographs .* got 15"):
        calibration_photographs(tmp_path, None)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--precision", "int8"], "--precision int8 needs --calibration"),
        (["--precision", "int8", "--calibration", "PHOTOGRAPHS"], "needs --eval-data"),
        (["--precision", "float16", "--calibration", "PHOTOGRAPHS"], "--calibration is for"),
        (
            ["--precision", "int8", "--calibration", "NOWHERE", "--accuracy-gate", "off"],
            "expected a folder of photographs",
        ),
    ],
)
def test_options_that_do_not_go_together_are_refused_in_one_line(
    options: list[str],
    said: str,
    detector: Detector,
    photographs: list[Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    save_checkpoint(tmp_path / "model.pt", detector)
    folder = str(photographs[0].parent)
    options = [option.replace("PHOTOGRAPHS", folder) for option in options]
    assert main([str(tmp_path / "model.pt"), "--out", str(tmp_path / "m.onnx"), *options]) == 2
    message = capsys.readouterr().err
    assert said in message
    assert message.count("\n") == 1


def test_a_damaged_calibration_photograph_is_refused_by_name(
    photographs: list[Path],
    graph: onnx.ModelProto,
    detector: Detector,
    tmp_path: Path,
) -> None:
    damaged = tmp_path / "damaged.png"
    damaged.write_bytes(photographs[0].read_bytes()[:200])
    order = Order("int8", calibration=[*photographs, damaged])
    with pytest.raises(DataError, match=r"damaged\.png"):
        finish_artifact(graph, detector, tmp_path / "m.onnx", PROVENANCE, order)
    assert not (tmp_path / "m.onnx").exists()


def manifest_of(path: Path) -> dict[str, Any]:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    content: dict[str, Any] = json.loads(session.get_modelmeta().custom_metadata_map["manifest"])
    return content
