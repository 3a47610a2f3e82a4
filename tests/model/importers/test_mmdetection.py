"""What MMDetection's configurations say of weights; what the weights answer is compared in test_golden.py."""

from pathlib import Path
from typing import Any

import pytest
import torch

from model.errors import Refused
from model.importers.layout import ImportRefused
from model.importers.mmdetection import MMDETECTION, STYLES, import_mmdetection, mmdetection_config
from model.network.detector import Detector

CLASSES = ("cat", "dog")
THREE = """
norm_cfg = dict(type='BN', requires_grad=False)
model = dict(
    type='FasterRCNN',
    data_preprocessor=dict(
        type='DetDataPreprocessor', mean=[103.530, 116.280, 123.675], std=[1.0, 1.0, 1.0], bgr_to_rgb=False,
        pad_size_divisor=32),
    backbone=dict(type='ResNet', depth=50, norm_cfg=norm_cfg, style='caffe'))
"""
TWO = """
_base_ = './faster_rcnn_r50_fpn_1x_coco.py'
img_norm_cfg = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)
test_pipeline = [dict(type='Normalize', **img_norm_cfg)]
"""


@pytest.fixture(scope="module")
def state() -> dict[str, Any]:
    with torch.device("meta"):
        detector = Detector(mmdetection_config("resnet50", STYLES["pytorch"]), CLASSES)
        shapes = MMDETECTION.shapes(detector)
    return {key: torch.ones(shape) for key, shape in shapes.items()}


@pytest.mark.parametrize(
    ("text", "order", "mean", "stride"),
    [(THREE, "bgr", 103.53, "1x1"), (TWO, "rgb", 123.675, "3x3")],
)
def test_pixels_and_style_are_read_from_the_configuration(
    state: dict[str, Any], text: str, order: str, mean: float, stride: str
) -> None:
    config = import_mmdetection({"state_dict": state}, CLASSES, said=text).config
    assert config.pixels.mean is not None
    assert (config.pixels.order, config.pixels.mean[0]) == (order, mean)
    assert config.backbone.stride_in == stride


def test_a_checkpoint_says_its_own_configuration_and_classes(state: dict[str, Any]) -> None:
    meta = {"cfg": THREE, "dataset_meta": {"classes": ("helmet", "vest")}}
    detector = import_mmdetection({"state_dict": state, "meta": meta})
    assert detector.class_names == ("helmet", "vest")
    assert detector.config.pixels.order == "bgr"


def test_weights_without_a_configuration_ask_for_one(state: dict[str, Any]) -> None:
    with pytest.raises(ImportRefused, match="give --config FILE.py, .* or --style pytorch or"):
        import_mmdetection({"state_dict": state}, CLASSES)
    with pytest.raises(ImportRefused, match="it says no mean and std of pixels"):
        import_mmdetection({"state_dict": state}, CLASSES, said="model = dict(type='FasterRCNN')")
    said = "a = dict(mean=[1, 2], std=[1, 1, 1])"
    with pytest.raises(Refused, match="mean"):
        import_mmdetection({"state_dict": state}, CLASSES, said=said)


def test_a_configuration_is_read_and_not_run(state: dict[str, Any], tmp_path: Path) -> None:
    target = tmp_path / "it ran"
    text = f"__import__('os').mkdir({str(target)!r})\n" + THREE
    import_mmdetection({"state_dict": state}, CLASSES, said=text)
    assert not target.exists()
    with pytest.raises(ImportRefused, match="got no Python"):
        import_mmdetection({"state_dict": state}, CLASSES, said="model = dict(")


def test_the_masks_are_left(state: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    masks = {f"roi_head.mask_head.convs.{i}.conv.weight": torch.ones(2) for i in range(4)}
    with caplog.at_level("INFO", logger="model.importers"):
        import_mmdetection({"state_dict": state | masks}, CLASSES, said="pytorch")
    assert f"took {len(state)} tensors, left 4 of the masks' head" in caplog.text
