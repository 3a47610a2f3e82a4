"""What cannot be imported costs one line that says what was expected, what came and what to do, and writes nothing."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from model.importers.__main__ import main
from model.importers.mmdetection import MMDETECTION, STYLES, mmdetection_config
from model.importers.torchvision import TORCHVISION, torchvision_config
from model.network.detector import Detector

State = dict[str, Tensor]
CONFIGURATION = """
model = dict(
    data_preprocessor=dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True),
    backbone=dict(type='ResNet', depth={depth}, style='pytorch'),
    roi_head=dict(bbox_head=dict(type='Shared2FCBBoxHead', num_classes={classes})))
"""


def empty(shapes: dict[str, torch.Size]) -> State:
    """Tensors of these shapes that take no room in a file."""
    return {key: torch.ones(1).expand(shape) for key, shape in shapes.items()}


def of_torchvision() -> State:
    """torchvision's on ResNet-18, of two classes."""
    with torch.device("meta"):
        detector = Detector(torchvision_config("resnet18"), ("a", "b"))
    return empty(TORCHVISION.shapes(detector))


def of_mmdetection() -> State:
    """MMDetection's on ResNet-50, of two classes."""
    with torch.device("meta"):
        detector = Detector(mmdetection_config("resnet50", STYLES["pytorch"]), ("a", "b"))
    return empty(MMDETECTION.shapes(detector))


def less_deep(state: State) -> State:
    return {key: value for key, value in state.items() if "layer2.1" not in key}


def narrower(state: State) -> State:
    return {
        key: value[:128] if "fpn.layer_blocks" in key else value for key, value in state.items()
    }


def of_other_boxes(state: State) -> State:
    return {key: value[:8] if "bbox_pred" in key else value for key, value in state.items()}


def of_nothing_known(state: State) -> State:
    return {f"net.{number}": value for number, value in enumerate(state.values())}


def same(state: State) -> State:
    return state


def refusal(
    project: str, weights: str, folder: Path, options: list[str], capsys: pytest.CaptureFixture[str]
) -> str:
    """The one line; nothing may be written."""
    out = folder / "out" / "model.pt"
    assert main([project, weights, str(out), *options]) == 2
    assert not out.parent.exists()
    [line] = capsys.readouterr().err.splitlines()
    return line


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (less_deep, [], r"got blocks \(2, 1, 2, 2\) of 2 convolutions"),
        (narrower, [], r"8 of another shape .*128.* instead of .*256.*; give the settings"),
        (of_other_boxes, [], r"bbox_pred.bias \(8,\) instead of \(12,\)"),
        (of_nothing_known, [], r"rpn.head.cls_logits.weight, got .* names such as net.0"),
        (same, ["--set", "pyramid.chanels=128"], r"pyramid.chanels"),
        (same, ["--set", "pyramid.channels=128"], r"instead of \(128"),
        (same, ["--ratios", "1"], r"has 3 anchors a cell, the settings 1.*--ratios"),
        (same, ["--model", "fasterrcnn_mobilenet_v3_large_fpn"], r"got those of a ResNet"),
    ],
)
def test_weights_of_another_build_are_refused_with_what_is_other(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: Callable[[State], State],
    options: list[str],
    message: str,
) -> None:
    torch.save(change(of_torchvision()), tmp_path / "theirs.pth")
    (tmp_path / "names.txt").write_text("cat\ndog\n")
    options = ["--classes", str(tmp_path / "names.txt"), *options]
    line = refusal("torchvision", str(tmp_path / "theirs.pth"), tmp_path, options, capsys)
    assert re.search(message, line), line
    assert "theirs.pth: " in line


def test_another_number_of_classes_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(of_torchvision(), tmp_path / "theirs.pth")
    weights = str(tmp_path / "theirs.pth")
    unnamed = refusal("torchvision", weights, tmp_path, [], capsys)
    assert "names for 2 classes, got 90; name the weights' classes with --classes FILE" in unnamed
    (tmp_path / "names.txt").write_text("cat\n")
    options = ["--classes", str(tmp_path / "names.txt")]
    assert "2 classes, got 1" in refusal("torchvision", weights, tmp_path, options, capsys)


def test_a_name_that_torchvision_has_not_published_is_answered_with_the_nearest_three(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = refusal("torchvision", "torchvision://fasterrcnn_resnet50", tmp_path, [], capsys)
    assert line.count("fasterrcnn_resnet50_fpn") + line.count("maskrcnn_resnet50_fpn") >= 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            CONFIGURATION.format(depth=101, classes=2),
            "says depth 101, the weights are of 50 (resnet50",
        ),
        (CONFIGURATION.format(depth=50, classes=80), "says num_classes 80, the weights are of 2"),
        (
            "model = dict(type='FasterRCNN')",
            "says no mean and std of pixels: give --config FILE.py",
        ),
        ("model = dict(", "expected a configuration of MMDetection, got no Python"),
    ],
)
def test_a_configuration_that_is_not_of_the_weights_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, message: str
) -> None:
    torch.save({"state_dict": of_mmdetection()}, tmp_path / "theirs.pth")
    (tmp_path / "names.txt").write_text("cat\ndog\n")
    (tmp_path / "config.py").write_text(text)
    options = ["--classes", str(tmp_path / "names.txt"), "--config", str(tmp_path / "config.py")]
    weights = str(tmp_path / "theirs.pth")
    assert message in refusal("mmdetection", weights, tmp_path, options, capsys)


def test_files_that_are_not_there_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({"state_dict": of_mmdetection()}, tmp_path / "theirs.pth")
    options = ["--config", str(tmp_path / "absent.py")]
    weights = str(tmp_path / "theirs.pth")
    assert "absent.py" in refusal("mmdetection", weights, tmp_path, options, capsys)
    assert "nowhere.pth" in refusal("detectron2", "nowhere.pth", tmp_path, [], capsys)


def test_photographs_to_compare_on_are_looked_for_before_the_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["torchvision", "nowhere.pth", str(tmp_path / "m.pt"), "--compare", str(tmp_path)])
    assert "expected a folder of photographs, found none in" in capsys.readouterr().err
