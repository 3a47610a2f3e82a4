import copy
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from model.config.files import from_mapping
from model.config.training import TrainConfig
from model.importers.__main__ import main
from model.importers.detectron2 import (
    DETECTRON2,
    detectron2_config,
    import_detectron2,
    read_detectron2,
)
from model.importers.torchvision import import_torchvision
from model.network.anchors import cell_anchors
from model.network.checkpoint import load_detector
from model.network.detector import Detector
from model.network.pooling import pool_regions
from model.training.batches import Batch
from model.training.precision import precision_for
from model.training.trainer import Trainer
from tests.detectors import noise
from tests.model.small import run_values
from tests.references import detections, matched, photograph, proposals, torchvision_detector

CLASSES = tuple(f"class {i}" for i in range(90))


@pytest.fixture(scope="module")
def detector() -> Detector:
    """The reference's weights in a detector of Detectron2's settings."""
    config = detectron2_config("resnet50")
    detector = Detector(config, CLASSES)
    state = import_torchvision(torchvision_detector().state_dict()).state_dict()
    # torchvision's pixels are RGB and deviate from their mean by about 1, Detectron2's are BGR and by about 57.
    state["backbone.stem.0.weight"] = state["backbone.stem.0.weight"].flip(1) / 57
    detector.load_state_dict(state)
    return detector.eval()


def as_detectron2(detector: Detector) -> dict[str, Tensor]:
    """The state dict that Detectron2 would have of `detector`, with norms of some statistics or other."""
    ours, state = detector.state_dict(), {}
    generator = torch.Generator().manual_seed(0)
    for name, (layer, norm) in DETECTRON2.names(detector).items():
        state[f"{layer}.weight"] = ours[f"{name}.weight"]
        if norm is None:
            state[f"{layer}.bias"] = ours[f"{name}.bias"]
            continue
        scale, shift = ours[f"{name}.scale"], ours[f"{name}.shift"]
        mean = torch.rand(scale.shape, generator=generator)
        variance = torch.rand(scale.shape, generator=generator) + 0.1
        state[f"{norm}.running_mean"], state[f"{norm}.running_var"] = mean, variance
        state[f"{norm}.weight"] = scale * torch.sqrt(variance + 1e-5)
        state[f"{norm}.bias"] = shift + mean * scale
    return state


def test_a_detector_written_as_detectron2_would_comes_back_with_its_answers(
    detector: Detector, tmp_path: Path
) -> None:
    weights, out, names = (tmp_path / name for name in ("model.pkl", "model.pt", "names.txt"))
    arrays = {key: value.numpy() for key, value in as_detectron2(detector).items()}
    arrays["pixel_mean"] = np.zeros((3, 1, 1), np.float32)  # older files have it
    weights.write_bytes(pickle.dumps({"model": arrays, "__author__": "someone"}))
    names.write_text("\n".join(CLASSES) + "\n")
    assert main(["detectron2", str(weights), str(out), "--classes", str(names)]) == 0
    imported = load_detector(out)
    assert imported.config == detector.config
    image, sizes = photograph("coffee", (192, 256))[None], torch.tensor([[192, 256]])
    with torch.inference_mode():
        got, expected = imported.detect(image, sizes), detector.detect(image, sizes)
    assert len(detections(expected).boxes) > 10
    assert matched(detections(got), detections(expected)) >= 0.97
    assert matched(proposals(got), proposals(expected)) >= 0.97


def test_a_step_of_fine_tuning_moves_what_it_trains(detector: Detector, tmp_path: Path) -> None:
    imported = import_detectron2(as_detectron2(detector), CLASSES)
    before = copy.deepcopy(imported.state_dict())
    config = from_mapping(TrainConfig, run_values(tmp_path, 1), "test")
    batch = Batch(
        images=noise(2, (64, 96)),
        sizes=torch.tensor([[64, 96], [60, 90]]),
        gt_boxes=[
            torch.tensor([[5.0, 9, 60, 50]]),
            torch.tensor([[20.0, 4, 48, 59], [1, 2, 30, 20]]),
        ],
        gt_labels=[torch.tensor([3]), torch.tensor([7, 0])],
        positions=(0, 1),
        whole=2,
    )
    trainer = Trainer(imported, config, precision_for("float32", "cpu"))
    losses = trainer.step(0, [batch])
    assert losses["loss"] > 0
    moved = {
        n for n, weights in imported.state_dict().items() if not torch.equal(weights, before[n])
    }
    assert {"backbone.stages.2.0.conv1.weight", "fpn.laterals.0.weight", "rpn.conv.weight"} <= moved
    assert {"roi.fc1.weight", "roi.logits.weight", "roi.deltas.weight"} <= moved


@pytest.mark.parametrize("name", ["a.pkl", "a.PKL", "a.pickle", "torch.pkl", "torch.pth"])
def test_both_kinds_of_file_are_read_whatever_they_are_called(tmp_path: Path, name: str) -> None:
    if name.startswith("torch"):
        torch.save({"model": {"a": torch.ones(2)}, "iteration": 7}, tmp_path / name)
    else:
        (tmp_path / name).write_bytes(pickle.dumps({"model": {"a": np.ones(2)}}))
    content = read_detectron2(tmp_path / name)
    assert isinstance(content, dict)
    assert content["model"]["a"].tolist() == [1, 1]


def test_a_deeper_network_is_told_by_its_keys() -> None:
    with torch.device("meta"):
        deep = Detector(detectron2_config("resnet101"), CLASSES)
        state = {key: torch.empty(shape) for key, shape in DETECTRON2.shapes(deep).items()}
    assert DETECTRON2.network(state) == "resnet101"
    assert "backbone.bottom_up.res4.22.conv3.norm.running_var" in DETECTRON2.check(state, deep)


def test_pixels_are_blue_first_and_only_shifted(detector: Detector) -> None:
    red = torch.zeros((1, 3, 32, 64), dtype=torch.uint8)
    red[:, 0] = 200
    got = detector.normalise(red, torch.tensor([[32, 64]]))
    expected = [0 - 103.53, 0 - 116.28, 200 - 123.675]
    assert got[0, :, 5, 60].tolist() == pytest.approx(expected)


def test_anchors_are_exact_and_a_level_apart(detector: Detector) -> None:
    assert not detector.config.anchors.rounded
    assert detector.config.anchors.stride == "level"
    [wide, *_] = cell_anchors((32.0,), (0.5,), detector.config.anchors.rounded)
    assert wide[2:].tolist() == pytest.approx([45.2548 / 2, 22.6274 / 2], rel=1e-5)


def test_regions_are_sampled_once_for_each_cell_begun_and_half_a_cell_back(
    detector: Detector,
) -> None:
    # One row of cells whose values are the squares of their columns; a region of 14 cells from column 3, so that each
    # of seven bins is two cells wide: two samples, half a cell before the cells' borders, at 3, 4, ... 16.
    columns = torch.arange(40.0)
    features = (columns**2).expand(1, 1, 40, 40).contiguous()
    box = 4 * torch.tensor([[3.5, 3.0, 17.5, 17.0]])
    pyramid = (features, *(features[..., ::s, ::s] for s in (2, 4, 8)))
    image = torch.zeros(1, dtype=torch.int64)
    pooled = pool_regions(pyramid, box, image, detector.config.roi, detector.pooled_levels)
    first = 3 + 2 * np.arange(7)
    samples = first + 0.5, first + 1.5  # between two cells the square is not reached: the chord is
    chord = [np.floor(x) ** 2 * 0.5 + np.ceil(x) ** 2 * 0.5 for x in samples]
    assert pooled[0, 0, 2].tolist() == pytest.approx(((chord[0] + chord[1]) / 2).tolist())


def test_cocos_eighty_classes_keep_the_ids_of_its_annotations(detector: Detector) -> None:
    state, head = as_detectron2(detector), "roi_heads.box_predictor"
    for part in ("weight", "bias"):
        rows = state[f"{head}.cls_score.{part}"]
        state[f"{head}.cls_score.{part}"] = torch.cat([rows[:80], rows[-1:]])
        state[f"{head}.bbox_pred.{part}"] = state[f"{head}.bbox_pred.{part}"][: 4 * 80]
    imported = import_detectron2(state)
    ids = dict(zip(imported.class_names, imported.category_ids, strict=True))
    assert (ids["person"], ids["cat"], ids["toothbrush"]) == (1, 17, 90)
    named = import_detectron2(state, tuple(f"thing {i}" for i in range(80)))
    assert named.category_ids == tuple(range(1, 81))
