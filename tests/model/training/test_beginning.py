"""What a run begins from: other classes, other projects' weights, parts that learn at rates of their own."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from model.importers.beginning import read_start
from model.importers.layout import ImportRefused
from model.importers.torchvision import TORCHVISION, torchvision_config
from model.network.checkpoint import (
    CheckpointError,
    load_detector,
    read_checkpoint,
    save_checkpoint,
)
from model.network.detector import Detector
from model.train import main
from model.training.precision import precision_for
from model.training.stages import inherit
from model.training.trainer import Trainer
from tests.model.small import run_config, run_values

pytestmark = pytest.mark.usefixtures("one_thread")


def detector_of(photos: Path, *names: str, seed: int = 0) -> Detector:
    torch.manual_seed(seed)
    return Detector(run_config(photos, 2).model, names)


def saved(detector: Detector, folder: Path) -> Path:
    save_checkpoint(folder / "start.pt", detector)
    return folder / "start.pt"


def test_classes_of_the_same_name_keep_what_predicts_them(
    photos: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = detector_of(photos, "blue", "yellow", "red", "pink")
    after = detector_of(photos, "red", "green", "blue", seed=1)
    fresh = {name: value.clone() for name, value in after.state_dict().items()}
    with caplog.at_level("INFO"):
        whole = inherit(after, read_checkpoint(saved(before, tmp_path)))
    assert whole == {"backbone", "pyramid", "rpn"}  # the head has a class that nobody has trained
    assert "roi (predictors of 2: red, blue; fresh ones of 1: green)" in caplog.text
    ours, theirs = after.state_dict(), before.state_dict()
    # red, green, blue and the background, of blue, yellow, red, pink and the background
    for key, rows in (("roi.logits.weight", 1), ("roi.logits.bias", 1), ("roi.deltas.weight", 4)):
        for label, source in ((0, 2), (2, 0), *([(3, 4)] if rows == 1 else [])):
            got = ours[key][rows * label : rows * (label + 1)]
            assert torch.equal(got, theirs[key][rows * source : rows * (source + 1)])
        assert torch.equal(ours[key][rows : 2 * rows], fresh[key][rows : 2 * rows])
    for key in ("roi.fc1.weight", "rpn.logits.weight", "fpn.laterals.0.weight"):
        assert torch.equal(ours[key], theirs[key])


def test_the_same_classes_in_another_order_are_not_mixed_up(photos: Path, tmp_path: Path) -> None:
    before = detector_of(photos, "blue", "green", "red")
    after = detector_of(photos, "red", "green", "blue", seed=1)
    assert "roi" in inherit(after, read_checkpoint(saved(before, tmp_path)))
    rows = [before.roi.logits.weight[label] for label in (2, 1, 0, 3)]
    assert torch.equal(after.roi.logits.weight, torch.stack(rows))


def test_a_run_goes_on_from_a_detector_of_other_classes(
    photos: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    start = saved(detector_of(photos, "red", "violet"), tmp_path)
    config, values = tmp_path / "run.json", run_values(photos, 2)
    # ImageNet's would have to be downloaded: who brings a backbone needs none
    values["model"]["backbone"]["weights"] = "hub"
    config.write_text(json.dumps(values))
    options = ["--out", str(tmp_path / "run"), "--device", "cpu", "--init", str(start)]
    with caplog.at_level("INFO"):
        assert main([str(config), *options]) == 0
    assert "predictors of 1: red; fresh ones of 2: green, blue" in caplog.text
    assert "starts at random" not in caplog.text
    assert load_detector(tmp_path / "run" / "model.pt").untrained == frozenset()


def test_weights_that_see_other_pixels_are_refused_with_the_settings_that_they_need(
    photos: Path, tmp_path: Path
) -> None:
    config = run_config(photos, 2).model
    pixels = replace(config.pixels, order="bgr", scale=1.0, mean=(103.0, 116.0, 123.0))
    before = Detector(replace(config, pixels=pixels), ("red",))
    with pytest.raises(CheckpointError, match="other pixels or strides: give --set") as refused:
        inherit(detector_of(photos, "red"), read_checkpoint(saved(before, tmp_path)))
    assert 'model.pixels.order="bgr" --set model.pixels.scale=1.0' in str(refused.value)


def test_torchvisions_weights_are_imported_on_the_way(tmp_path: Path) -> None:
    config = torchvision_config("resnet18")
    for classes in (2, 90):
        names = tuple(f"thing {i}" for i in range(classes))
        with torch.device("meta"):
            shapes = TORCHVISION.shapes(Detector(config, names))
        state = {key: torch.rand(shape) + 0.5 for key, shape in shapes.items()}
        torch.save({"model": state}, tmp_path / "theirs.pth")
        start = read_start(tmp_path / "theirs.pth")
        assert start.config.backbone.name == "resnet18"
        assert start.class_names[:1] == (("class 0",) if classes == 2 else ("person",))
        assert torch.equal(start.weights["roi.fc2.bias"], state["roi_heads.box_head.fc7.bias"])


def test_a_file_of_neither_is_refused_in_one_line(tmp_path: Path) -> None:
    torch.save({"fc.weight": torch.zeros(2)}, tmp_path / "other.pth")
    with pytest.raises(ImportRefused, match=r"expected a checkpoint of fpn-train, or weights of"):
        read_start(tmp_path / "other.pth")


def test_each_part_learns_at_its_own_rate(photos: Path) -> None:
    config = run_config(photos, 2)
    rates = replace(config.schedule.rates, backbone=0.1, roi=2.0)
    config = replace(config, schedule=replace(config.schedule, rates=rates))
    detector = detector_of(photos, "red", "green", "blue")
    trainer = Trainer(detector, config, precision_for("float32", "cpu"))
    groups = trainer.optimizer.param_groups
    assert [group["multiple"] for group in groups] == [0.1, 0.1, 1.0, 1.0, 2.0, 2.0]
    place = {id(p): group["multiple"] for group in groups for p in group["params"]}
    expected = {"backbone": 0.1, "fpn": 1.0, "rpn": 1.0, "roi": 2.0}
    for name, parameter in detector.named_parameters():
        assert place[id(parameter)] == expected[name.partition(".")[0]]
