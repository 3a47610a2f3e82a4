"""Which files are taken, and how the others are refused. Shapes alone decide, so nothing here has weights."""

import csv

import pytest
import torch
from torch import Tensor
from torchvision.models.detection import fasterrcnn_resnet50_fpn
from torchvision.ops import FrozenBatchNorm2d

from model.importers.detectron2 import DETECTRON2, detectron2_config, import_detectron2
from model.importers.layout import ImportRefused, Layout, named_classes
from model.importers.torchvision import (
    TORCHVISION,
    coco_classes,
    current_names,
    import_torchvision,
    torchvision_config,
)
from model.network.detector import Detector
from tests.places import SHARED

KEY_MAP = SHARED / "reference" / "key_map.tsv"
COCO_80 = tuple(name for name in coco_classes() if not name.startswith("unused"))


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    """The state dict of torchvision's model for 91 classes, with norms that train: it counts their batches."""
    with torch.device("meta"):
        model = fasterrcnn_resnet50_fpn(weights=None, weights_backbone=None)
    return dict(model.state_dict())


def refusal(state: dict[str, Tensor], classes: tuple[str, ...] = ()) -> str:
    with torch.device("meta"), pytest.raises(ImportRefused) as caught:
        import_torchvision(state, classes)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def shapes(layout: Layout) -> dict[str, torch.Size]:
    with torch.device("meta"):
        if layout is TORCHVISION:
            return layout.shapes(Detector(torchvision_config("resnet50"), coco_classes()))
        return layout.shapes(Detector(detectron2_config("resnet50"), COCO_80))


def count(shapes: dict[str, torch.Size], norms: bool) -> int:
    parts = (".running_mean", ".running_var")
    layers = {key.rsplit(".", 1)[0] for key in shapes if key.endswith(parts)}
    return sum(
        shape.numel()
        for key, shape in shapes.items()
        if norms or key.rsplit(".", 1)[0] not in layers
    )


def test_every_key_and_shape_of_torchvisions_model_is_taken(state: dict[str, Tensor]) -> None:
    expected = shapes(TORCHVISION)
    assert {k: v.shape for k, v in state.items() if "num_batches" not in k} == expected
    assert len(expected) == 295
    assert (
        count(expected, norms=False) == 41_755_286
    )  # torchvision's published number of parameters
    assert count(expected, norms=True) == 41_861_526


def test_detectron2s_keys_differ_in_the_rows_of_the_background_alone() -> None:
    theirs = shapes(DETECTRON2)
    assert len(theirs) == 295
    # 91 rows and 364 instead of 81 and 320, of 1024 weights and a bias.
    assert count(shapes(TORCHVISION), True) - count(theirs, True) == (10 + 44) * 1025


@pytest.mark.skipif(not KEY_MAP.exists(), reason=f"{KEY_MAP} is not there")
def test_the_names_are_those_of_the_key_map() -> None:
    with KEY_MAP.open(encoding="utf-8") as file:
        rows = list(csv.reader(file, delimiter="\t"))[1:]
    torchvision, detectron2 = shapes(TORCHVISION), shapes(DETECTRON2)
    listed = {}
    for key, shape, _, other, other_shape in rows:
        assert str(tuple(torchvision[key])) == shape
        listed[other] = shape if other_shape == "=" else other_shape
    assert {key: str(tuple(shape)) for key, shape in detectron2.items()} == listed
    assert len(rows) == len(torchvision) == 295
    other_names = {row[0]: row[3] for row in rows}
    with torch.device("meta"):
        ours = TORCHVISION.names(Detector(torchvision_config("resnet50"), coco_classes()))
    for name, (layer, _) in ours.items():
        assert other_names[f"{layer}.weight"] == f"{DETECTRON2.theirs(name)[0]}.weight"


def test_the_spelling_of_the_published_file_is_taken(state: dict[str, Tensor]) -> None:
    old = {
        key.replace(".0.weight", ".weight").replace(".0.bias", ".bias")
        if "_blocks." in key
        else key.replace("conv.0.0.", "conv."): value
        for key, value in state.items()
    }
    assert {"backbone.fpn.inner_blocks.3.bias", "rpn.head.conv.weight"} <= old.keys()
    assert current_names(old) == state


def test_missing_surplus_and_misshapen_tensors_are_named(state: dict[str, Tensor]) -> None:
    less = {key: value for key, value in state.items() if key != "rpn.head.cls_logits.bias"}
    assert "1 tensors missing ['rpn.head.cls_logits.bias'], 0 surplus" in refusal(less)
    assert "1 surplus ['roi_heads.mask']" in refusal(state | {"roi_heads.mask": torch.zeros(1)})
    key = "roi_heads.box_head.fc6.weight"
    other = refusal(state | {key: torch.zeros(1024, 49)})
    assert f"1 of another shape ['{key} (1024, 49) instead of (1024, 12544)']" in other


def test_another_architecture_is_refused() -> None:
    with torch.device("meta"):
        small = fasterrcnn_resnet50_fpn(weights=None, weights_backbone=None).state_dict()
    cut = {k: v for k, v in small.items() if not k.startswith("backbone.body.layer3.5")}
    assert "got blocks (3, 4, 5, 3) of 3 convolutions, 1 groups of 64 channels" in refusal(cut)
    assert "got another object: list" in refusal([1, 2])  # type: ignore[arg-type]
    with pytest.raises(ImportRefused, match="got those of torchvision: fpn-import torchvision"):
        import_detectron2(dict(small))


def test_classes_that_are_not_coco_are_named_by_the_user(state: dict[str, Tensor]) -> None:
    head = "roi_heads.box_predictor"
    few = {key: value[:3] if "cls_score" in key else value for key, value in state.items()}
    few |= {k: v[:12] for k, v in state.items() if k.startswith(f"{head}.bbox_pred")}
    assert "names for 2 classes, got 90; name the weights' classes with --classes" in refusal(few)
    assert "names for 2 classes, got 1" in refusal(few, ("cat",))


def test_settings_that_no_state_dict_says_are_taken(state: dict[str, Tensor]) -> None:
    settings = ("anchors.sizes=[8.0, 16.0, 32.0, 64.0, 128.0]", "resize.short_side=400")
    real = {key: torch.ones(value.shape) for key, value in state.items()}
    config = import_torchvision(real, settings=settings).config
    assert config.anchors.sizes == (8, 16, 32, 64, 128)
    assert (config.resize.short_side, config.resize.max_side) == (400, 1333)
    assert config.anchors.rounded  # the others stay torchvision's


def test_another_number_of_anchors_asks_for_the_ratios(state: dict[str, Tensor]) -> None:
    head = "rpn.head.cls_logits.weight"
    five = state | {head: torch.zeros(5, 256, 1, 1)}
    assert f"{head} has 5 anchors a cell, the settings 3" in refusal(five)


def test_weights_of_something_else_are_told_by_their_names() -> None:
    message = refusal({"module.conv1.weight": torch.zeros(1), "module.fc.bias": torch.zeros(1)})
    assert "named rpn.head.cls_logits.weight, got 2 names such as module.conv1.weight" in message


def test_the_unused_ids_of_coco_keep_their_places() -> None:
    names = coco_classes()
    assert len(set(names)) == len(names) == 90
    assert (names[0], names[16], names[89]) == ("person", "cat", "toothbrush")
    unused = [i + 1 for i, name in enumerate(names) if name.startswith("unused")]
    assert unused == [12, 26, 29, 30, 45, 66, 68, 69, 71, 83]
    assert names[11] == "unused 12"
    assert len(COCO_80) == 80


def test_a_norm_that_divides_by_zero_is_refused(state: dict[str, Tensor]) -> None:
    real = {key: torch.zeros(value.shape) for key, value in state.items()}
    with pytest.raises(ImportRefused, match="asks for a norm epsilon above 0.0"):
        import_torchvision(real)


def test_a_tiny_variance_is_no_trouble(state: dict[str, Tensor]) -> None:
    norm = FrozenBatchNorm2d(64, eps=0.0)
    norm.running_var.fill_(1e-12)  # zero in half precision
    real = {key: torch.ones(value.shape) for key, value in state.items()}
    real |= {f"backbone.body.bn1.{key}": value for key, value in norm.state_dict().items()}
    detector = import_torchvision(real)
    assert detector.state_dict()["backbone.stem.0.scale"].tolist() == pytest.approx([1e6] * 64)


@pytest.mark.parametrize("names", [("cat", "cat"), ("cat", " dog"), ("cat", "\ufeffdog")])
def test_names_that_no_server_takes_are_refused(names: tuple[str, ...]) -> None:
    with pytest.raises(ImportRefused, match="expected class names"):
        named_classes(2, names, ())
