import json
from pathlib import Path

import onnx
import pytest
import torch

from export.__main__ import main
from model.config.detector import DetectorConfig
from model.config.files import from_mapping
from model.network.checkpoint import save_checkpoint
from model.network.detector import Detector
from tests.detectors import small_detector


def refusal(capsys: pytest.CaptureFixture[str]) -> str:
    """What was printed to standard error: one line."""
    message = capsys.readouterr().err
    assert message.startswith("fpn-export: ")
    assert message.count("\n") == 1
    return message


def test_a_checkpoint_becomes_an_artifact_and_the_report_is_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_checkpoint(tmp_path / "run" / "model.pt", small_detector())
    out = tmp_path / "model.onnx"
    fewer = ["--set", "rpn.post_nms_test=30"]
    assert main([str(tmp_path / "run" / "model.pt"), "--out", str(out), *fewer]) == 0
    assert out.stat().st_size > 40_000_000
    [entry] = onnx.load(out).metadata_props
    assert json.loads(entry.value)["max_proposals"] == 30
    printed = capsys.readouterr().out
    assert "matched_detections" in printed
    assert "run" in printed.splitlines()[-1]  # named after its folder


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", None])
def test_what_is_no_checkpoint_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes | None
) -> None:
    path = tmp_path / "model.pt"
    if content is not None:
        path.write_bytes(content)
    assert main([str(path), "--out", str(tmp_path / "model.onnx")]) == 2
    assert str(path) in refusal(capsys)
    assert not (tmp_path / "model.onnx").exists()


def test_a_checkpoint_of_another_architecture_is_refused_naming_what_differs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "model.pt"
    save_checkpoint(path, small_detector())
    content = torch.load(path, weights_only=True)
    content["config"]["backbone"]["name"] = "resnet34"
    torch.save(content, path)
    assert main([str(path), "--out", str(tmp_path / "model.onnx")]) == 2
    assert "not the weights of this resnet34 detector" in refusal(capsys)


def test_an_empty_folder_of_photographs_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_checkpoint(tmp_path / "model.pt", small_detector())
    (tmp_path / "photographs").mkdir()
    arguments = [str(tmp_path / "model.pt"), "--out", str(tmp_path / "model.onnx")]
    assert main([*arguments, "--images", str(tmp_path / "photographs")]) == 2
    assert "found none there" in refusal(capsys)


@pytest.mark.parametrize(
    ("change", "setting"),
    [
        ({"roi": {"pooling": "pool"}}, "RoIPool"),
        (
            {"resize": {"short_side": 64, "max_side": 4097}},
            "at most 4096 pixels a side, got one of",
        ),
    ],
)
def test_a_detector_that_the_artifact_has_no_place_for_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: dict[str, object], setting: str
) -> None:
    values = {"backbone": {"name": "resnet18", "weights": "none"}} | change
    config = from_mapping(DetectorConfig, values, "test")
    save_checkpoint(tmp_path / "model.pt", Detector(config, ("cat",)))
    assert main([str(tmp_path / "model.pt"), "--out", str(tmp_path / "model.onnx")]) == 2
    assert setting in refusal(capsys)
    assert not (tmp_path / "model.onnx").exists()


def test_a_golden_photograph_that_does_not_decode_costs_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_checkpoint(tmp_path / "model.pt", small_detector())
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no more")
    arguments = [str(tmp_path / "model.pt"), "--out", str(tmp_path / "model.onnx")]
    assert main([*arguments, "--golden", str(tmp_path / "broken.jpg")]) == 2
    assert "broken.jpg: cannot be decoded" in refusal(capsys)


def test_figures_of_another_detector_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_checkpoint(tmp_path / "model.pt", small_detector())
    figures = {"AP": 0.5, "reference": {"scores": {"horse": {}}, "levels": {}}}
    (tmp_path / "accuracy.json").write_text(json.dumps(figures))
    arguments = [str(tmp_path / "model.pt"), "--out", str(tmp_path / "model.onnx")]
    assert main([*arguments, "--accuracy", str(tmp_path / "accuracy.json")]) == 2
    assert "it says nothing of 'cat'" in refusal(capsys)


def test_int8_has_nothing_to_store_in_float16(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_checkpoint(tmp_path / "model.pt", small_detector())
    arguments = [str(tmp_path / "model.pt"), "--out", str(tmp_path / "model.onnx")]
    assert main([*arguments, "--precision", "int8", "--store", "float16"]) == 2
    assert "--store float16 is for float32 and float16" in refusal(capsys)


@pytest.mark.parametrize("option", [["--name", " model"], ["--version", "1\n2"]])
def test_a_name_that_no_server_takes_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: list[str]
) -> None:
    save_checkpoint(tmp_path / "model.pt", small_detector())
    arguments = [str(tmp_path / "model.pt"), "--out", str(tmp_path / "model.onnx")]
    assert main([*arguments, *option]) == 2
    assert f"{option[0]}: expected printable characters" in refusal(capsys)
