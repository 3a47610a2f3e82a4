import os
import pickle
import resource
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torchvision import models as networks

from model.network.checkpoint import (
    CheckpointError,
    TrainingState,
    load_detector,
    load_training,
    read_checkpoint,
    restore_weights,
    save_checkpoint,
)
from model.network.detector import Detector
from tests.detectors import CLASS_NAMES, noise, small_detector, with_config


@pytest.fixture(scope="module")
def detector() -> Detector:
    return small_detector()


@pytest.fixture
def saved(tmp_path: Path, detector: Detector) -> Path:
    path = tmp_path / "run" / "model.pt"
    save_checkpoint(path, detector)
    return path


def training_state(**changes: Any) -> TrainingState:
    state = TrainingState(
        {"seed": 4}, 7, {"state": {}, "param_groups": []}, {}, "float32", "digest", {}
    )
    return replace(state, **changes)


def rewrite(path: Path, **changes: object) -> None:
    torch.save(torch.load(path, weights_only=True) | changes, path)


def refused(path: Path) -> str:
    """The one line that `load_detector` refuses a file with."""
    with pytest.raises(CheckpointError) as caught:
        load_detector(path)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"{path}: ")
    return message


def test_a_loaded_detector_detects_exactly_what_the_saved_one_did(
    saved: Path, detector: Detector
) -> None:
    loaded = load_detector(saved)
    images, sizes = noise(2, (64, 96)), torch.tensor([[64, 96], [40, 70]])
    with torch.inference_mode():
        for one, other in zip(
            loaded.detect(images, sizes), detector.detect(images, sizes), strict=True
        ):
            assert torch.equal(one, other)
    assert (loaded.config, loaded.class_names) == (detector.config, CLASS_NAMES)
    assert not loaded.training


def test_settings_of_the_test_may_be_others(saved: Path) -> None:
    before = load_detector(saved).config
    after = load_detector(saved, ["rpn.post_nms_test=7", "roi.score_threshold=0.5"]).config
    assert (before.rpn.post_nms_test, before.roi.score_threshold) != (7, 0.5)
    assert after == replace(
        before,
        rpn=replace(before.rpn, post_nms_test=7),
        roi=replace(before.roi, score_threshold=0.5),
    )


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("anchors.sizes=[1, 2]", "--set anchors.sizes=[1, 2]: expected one of rpn.pre_nms_test, "),
        ("post_nms_test=7", "--set post_nms_test=7: expected one of rpn.pre_nms_test, "),
        ("rpn.post_nms_test", "--set rpn.post_nms_test: expected KEY=VALUE"),
        ("rpn.post_nms_test=0", "--set rpn.post_nms_test=0: rpn.post_nms_test: "),
        ("roi.nms_iou=high", "--set roi.nms_iou=high: roi.nms_iou: Input should be a valid number"),
    ],
)
def test_what_training_decided_may_not_and_values_must_be_possible(
    saved: Path, override: str, said: str
) -> None:
    with pytest.raises(CheckpointError) as caught:
        load_detector(saved, [override])
    assert said in str(caught.value)


def test_loading_needs_nothing_but_the_file(tmp_path: Path) -> None:
    weights, detector = tmp_path / "resnet18.pth", small_detector()
    torch.save(networks.resnet18().state_dict(), weights)
    backbone = replace(detector.config.backbone, weights=str(weights))
    save_checkpoint(
        tmp_path / "model.pt", with_config(detector, replace(detector.config, backbone=backbone))
    )
    weights.unlink()
    assert load_detector(tmp_path / "model.pt").class_names == CLASS_NAMES


def test_the_same_weights_serve_a_configuration_derived_from_the_files(saved: Path) -> None:
    checkpoint = read_checkpoint(saved)
    rpn = replace(checkpoint.config.rpn, post_nms_test=7)
    detector = checkpoint.detector(replace(checkpoint.config, rpn=rpn))
    assert detector.config.rpn.post_nms_test == 7
    for name, weights in checkpoint.detector().state_dict().items():
        assert torch.equal(detector.state_dict()[name], weights)


def test_the_state_of_a_run_comes_back(tmp_path: Path, detector: Detector) -> None:
    state = training_state(scaler={"scale": 8.0})
    save_checkpoint(tmp_path / "last.pt", detector, state)
    other = small_detector(seed=1)
    loaded = load_training(tmp_path / "last.pt")
    restore_weights(other, tmp_path / "last.pt")
    assert (loaded.config, loaded.step, loaded.scaler) == (state.config, 7, {"scale": 8.0})
    assert loaded.average == {}
    weights = detector.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in other.state_dict().items())


def test_a_runs_checkpoint_is_a_detector_as_well(tmp_path: Path, detector: Detector) -> None:
    save_checkpoint(tmp_path / "last.pt", detector, training_state())
    assert load_detector(tmp_path / "last.pt").class_names == CLASS_NAMES


def test_a_failed_write_leaves_the_old_file_and_no_other(saved: Path) -> None:
    before = saved.read_bytes()
    unwritable = training_state(optimizer={"state": lambda: None})
    with pytest.raises((pickle.PicklingError, AttributeError)):
        save_checkpoint(saved, small_detector(seed=1), unwritable)
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]


def test_a_failed_rename_leaves_no_file_behind(tmp_path: Path, detector: Detector) -> None:
    (tmp_path / "taken" / "inside").mkdir(parents=True)
    with pytest.raises(CheckpointError, match="taken: could not be written: "):
        save_checkpoint(tmp_path / "taken", detector)
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_a_full_disk_costs_one_line_and_leaves_the_old_file(saved: Path) -> None:
    before = saved.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    # A file may not grow beyond this, as on a disk that is full then.
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limits[1]))
    try:
        with pytest.raises(CheckpointError, match="could not be written: .*; the one that") as e:
            save_checkpoint(saved, small_detector(seed=1))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "\n" not in str(e.value)
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]


def test_a_run_that_averages_its_weights_is_the_averaged_detector(
    tmp_path: Path, detector: Detector
) -> None:
    averaged = {f"module.{k}": v + 1 for k, v in detector.state_dict().items()}
    state = training_state(average=averaged | {"n_averaged": torch.tensor(3)})
    save_checkpoint(tmp_path / "last.pt", detector, state)
    name = "roi.fc1.weight"
    expected = detector.state_dict()[name] + 1
    assert torch.equal(load_detector(tmp_path / "last.pt").state_dict()[name], expected)
    assert torch.equal(read_checkpoint(tmp_path / "last.pt").weights[name], expected)
    raw = small_detector(seed=1)
    restore_weights(raw, tmp_path / "last.pt")  # to train on
    assert torch.equal(raw.state_dict()[name], detector.state_dict()[name])


def test_a_new_checkpoint_replaces_the_old(saved: Path) -> None:
    other = small_detector(seed=1)
    save_checkpoint(saved, other)
    name = "roi.fc1.weight"
    assert torch.equal(load_detector(saved).state_dict()[name], other.state_dict()[name])
    assert list(saved.parent.iterdir()) == [saved]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"a text\n",
        bytes(range(256)),
        b"\x80\x02]q\x00",
        b"PK\x05\x06" + bytes(18),
        pickle.dumps([1, 2]),
        pickle.dumps({"weights": [1.0]}),
    ],
)
def test_another_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.pt").write_bytes(content)
    assert "expected a checkpoint of fpn-train, got" in refused(tmp_path / "model.pt")


@pytest.mark.parametrize("part", [0.02, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused(saved: Path, part: float) -> None:
    content = saved.read_bytes()
    saved.write_bytes(content[: int(len(content) * part)])
    assert "damaged" in refused(saved)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    assert "No such file" in refused(tmp_path / "absent.pt")


def test_another_file_of_torchs_is_refused(tmp_path: Path, detector: Detector) -> None:
    torch.save(detector.state_dict(), tmp_path / "weights.pt")
    assert "got another torch file" in refused(tmp_path / "weights.pt")


def test_another_format_is_refused_by_its_number(saved: Path) -> None:
    rewrite(saved, format=2)
    assert "expected checkpoint format 1, got 2" in refused(saved)


def test_a_configuration_that_is_not_known_is_refused_by_its_key(saved: Path) -> None:
    config = torch.load(saved, weights_only=True)["config"]
    rewrite(saved, config=config | {"mask": {}})
    assert "unknown key mask" in refused(saved)


def test_weights_of_another_architecture_are_refused_by_name(saved: Path) -> None:
    config = torch.load(saved, weights_only=True)["config"]
    rewrite(saved, config=config | {"pyramid": {"channels": 12}})
    assert "of another shape ['fpn.laterals.0.bias'" in refused(saved)
    rewrite(saved, config=config | {"backbone": config["backbone"] | {"name": "resnet34"}})
    message = refused(saved)
    assert "not the weights of this resnet34 detector" in message
    assert "tensors missing ['backbone.stages.0.2" in message


def test_surplus_weights_are_refused_by_name(saved: Path, detector: Detector) -> None:
    rewrite(saved, model=detector.state_dict() | {"mask.weight": torch.zeros(1)})
    assert "1 surplus ['mask.weight']" in refused(saved)


class Malicious:
    """What makes a directory as soon as it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (str(self.target),))


@pytest.mark.parametrize("wrapped", [True, False])
def test_no_code_in_a_checkpoint_is_run(saved: Path, tmp_path: Path, wrapped: bool) -> None:
    trap = Malicious(tmp_path / "it ran")
    content = torch.load(saved, weights_only=True) | {"training": trap} if wrapped else trap
    torch.save(content, saved)
    assert "weights_only" not in refused(saved)  # no counsel to run it after all
    assert not trap.target.exists()
    saved.write_bytes(pickle.dumps(content))
    refused(saved)
    assert not trap.target.exists()


def test_a_finished_model_is_no_run_to_go_on_with(saved: Path) -> None:
    with pytest.raises(CheckpointError, match="got a finished model, or a run of another version"):
        load_training(saved)


def test_a_run_with_other_classes_is_refused(tmp_path: Path) -> None:
    detector = small_detector()
    save_checkpoint(tmp_path / "last.pt", detector, training_state())
    detector.class_names = ("cat", "dog", "cow")
    with pytest.raises(CheckpointError, match=r"'cow'\], got \['cat', 'dog', 'bird'\]"):
        restore_weights(detector, tmp_path / "last.pt")


def test_the_data_sets_ids_and_the_recipe_come_back(tmp_path: Path) -> None:
    detector = small_detector()
    detector.category_ids = (17, 4, 90)
    save_checkpoint(tmp_path / "model.pt", detector, recipe="seven steps")
    read = read_checkpoint(tmp_path / "model.pt")
    assert (read.category_ids, read.recipe) == ((17, 4, 90), "seven steps")
    assert read.detector().category_ids == (17, 4, 90)


def test_a_checkpoint_that_says_no_ids_counts_from_one(saved: Path) -> None:
    content = torch.load(saved, weights_only=True)
    del content["category_ids"], content["recipe"]
    torch.save(content, saved)
    read = read_checkpoint(saved)
    assert (read.category_ids, read.recipe) == ((1, 2, 3), "")


@pytest.mark.parametrize("ids", [[1, 2], [1, 1, 2], [1, 2, "3"]])
def test_ids_that_cannot_be_are_refused(saved: Path, ids: list[object]) -> None:
    rewrite(saved, category_ids=ids)
    assert "expected category_ids that are 3 different whole numbers" in refused(saved)


@pytest.mark.parametrize(
    "names", [["cat", "", "dog"], ["cat", "dog", "cat"], ["\ufeffcat", "b", "c"]]
)
def test_names_that_no_server_takes_are_refused(saved: Path, names: list[str]) -> None:
    rewrite(saved, class_names=names)
    assert "expected class names" in refused(saved)
