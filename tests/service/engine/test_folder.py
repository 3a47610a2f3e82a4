from pathlib import Path
from typing import Any

import pytest

from service.app import create_app
from service.artifact.manifest import Manifest
from service.engine.folder import best_of, model_file
from service.engine.providers import CPU, CUDA
from service.errors import InvalidModel
from tests.service.conftest import small_settings
from tests.service.tiny_model import MANIFEST, write_tiny_int8_model, write_tiny_model

FOLDER = Path("models")


def manifest(precision: str, **other: Any) -> Manifest:
    return Manifest.model_validate(MANIFEST | {"precision": precision} | other, strict=False)


ALL = {FOLDER / f"{p}.onnx": manifest(p) for p in ("float16", "float32", "int8")}
UNJUDGED = {"gate": {"kind": "off", "report": {}, "float_layers": []}}


@pytest.mark.parametrize(("provider", "best"), [(CPU, "int8"), (CUDA, "float16")])
def test_a_cpu_takes_int8_and_a_gpu_float16(provider: str, best: str) -> None:
    assert best_of(ALL, provider) == FOLDER / f"{best}.onnx"


@pytest.mark.parametrize(("provider", "best"), [(CPU, "int8"), (CUDA, "float16")])
def test_float32_takes_the_place_of_a_precision_that_is_not_there(provider: str, best: str) -> None:
    rest = {file: each for file, each in ALL.items() if each.precision != best}
    assert best_of(rest, provider) == FOLDER / "float32.onnx"


def test_a_precision_that_nobody_judged_is_not_taken() -> None:
    unjudged = ALL | {FOLDER / "int8.onnx": manifest("int8", **UNJUDGED)}
    assert best_of(unjudged, CPU) == FOLDER / "float32.onnx"


def test_two_models_of_one_precision_are_refused() -> None:
    with pytest.raises(InvalidModel, match="expected one int8 model, got int8.onnx, other.onnx"):
        best_of(ALL | {FOLDER / "other.onnx": manifest("int8")}, CPU)


def test_models_of_different_classes_are_refused() -> None:
    other = manifest("int8", classes=["cat", "dog", "cow"])
    with pytest.raises(InvalidModel, match="different classes"):
        best_of(ALL | {FOLDER / "int8.onnx": other}, CPU)


def test_a_folder_without_a_model_for_the_device_says_what_it_has() -> None:
    with pytest.raises(InvalidModel, match=r"in float16 or float32 .* got int8.onnx \(int8\)"):
        best_of({FOLDER / "int8.onnx": manifest("int8")}, CUDA)


def test_an_empty_folder_and_a_broken_file_in_it_are_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(InvalidModel, match=r"no \*\.onnx in this folder"):
        model_file(tmp_path, "cpu")
    (tmp_path / "model.onnx").write_bytes(b"no model")
    with pytest.raises(
        InvalidModel, match=r"model\.onnx: expected a file that fpn-export"
    ) as raised:
        model_file(tmp_path, "cpu")
    assert "\n" not in raised.value.detail


def test_a_path_that_is_no_folder_is_left_to_the_engine(tmp_path: Path) -> None:
    assert model_file(tmp_path / "missing.onnx", "cpu") == tmp_path / "missing.onnx"


def test_a_server_of_a_folder_serves_the_file_for_its_device(tmp_path: Path) -> None:
    write_tiny_model(tmp_path / "model.onnx")
    write_tiny_int8_model(tmp_path / "small.onnx", weight=63, weight_bits=7)
    assert create_app(small_settings(tmp_path)).state.engine.manifest.precision == "int8"
