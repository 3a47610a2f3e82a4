"""Checkpoints: one file that holds all that a detector is, and for a run that goes on, all that the run was.

A checkpoint is a torch file of plain values and tensors, read without running code from it (`weights_only`). It is
written beside its name and renamed, so that a name always stands for a whole file.

    format       1
    config       the detector's configuration
    class_names  in label order
    category_ids absent, or of each class its id in the data set; where it is absent, they count from 1
    recipe       absent, or how the weights were trained, in words
    untrained    absent, or the parts that no training has reached: a checkpoint of one stage (stages.py)
    model        state dict, float32
    halves       absent, or in one that ships the large tensors of the state dict, as planes of float16 (halves.py)
    training     absent, or what `TrainingState` says: the run's config, step, optimizer, ...
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from model.config.class_names import fault_of, fault_of_ids
from model.config.detector import DetectorConfig
from model.config.files import ConfigError, apply_override, from_mapping, to_mapping
from model.errors import Refused
from model.network.detector import Detector
from model.network.halves import as_planes, from_planes, halved
from model.network.torch_file import (
    UnreadableFile,
    UnwritableFile,
    read_torch_file,
    write_torch_file,
)

FORMAT = 1
# What every checkpoint has, and of which kind.
_NEEDED = {"format": int, "config": dict, "class_names": list, "model": dict}

# What may be changed after training: it decides how many boxes are looked at and shown, and no weight depends on it.
TEST_SETTINGS = (
    "rpn.pre_nms_test",
    "rpn.post_nms_test",
    "rpn.nms_iou",
    "roi.score_threshold",
    "roi.nms_iou",
    "roi.max_candidates",
    "roi.max_detections",
)


class CheckpointError(Refused):
    """A file that is not a checkpoint of ours, or not one that fits; one line says what was expected and what came."""


@dataclass(frozen=True)
class TrainingState:
    """What a run needs, beside the weights, to go on as if it had not stopped.

    Attributes:
        config: the run's configuration, as plain values.
        step: steps done.
        optimizer, scaler: their state dicts.
        precision: the numbers that it was computed in: float32, bfloat16 or float16.
        data_digest: `CocoDataset.digest` of what was trained on.
        average: the state dict of the averaged weights; empty where none are kept.
    """

    config: dict[str, Any]
    step: int
    optimizer: dict[str, Any]
    scaler: dict[str, Any]
    precision: str
    data_digest: str
    average: dict[str, Any]


def save_checkpoint(
    path: Path,
    detector: Detector,
    training: TrainingState | None = None,
    *,
    recipe: str = "",
    halves: bool = False,
) -> None:
    """Write `detector` to `path` at once or not at all.

    `training` is its state, for one to go on from; `recipe` says how it was trained. `halves` writes large tensors in
    float16, and deflates them; what goes on training needs float32, for its steps are smaller than float16 can tell.
    """
    weights = detector.state_dict()
    small = {name: halved(tensor) for name, tensor in weights.items()} if halves else weights
    large = {name: small.pop(name) for name, t in [*small.items()] if t.dtype == torch.float16}
    content: dict[str, Any] = {
        "format": FORMAT,
        "config": to_mapping(without_download(detector.config)),
        "class_names": list(detector.class_names),
        "category_ids": list(detector.category_ids),
        "recipe": recipe,
        "model": small,
        "untrained": sorted(detector.untrained),
    }
    if large:
        content["halves"] = {name: as_planes(tensor) for name, tensor in large.items()}
    if training is not None:
        content["training"] = vars(training)
    try:
        write_torch_file(path, content, deflated=halves)
    except UnwritableFile as error:
        raise CheckpointError(str(error)) from error


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint file holds of a detector.

    Attributes:
        path: the file.
        config, class_names, category_ids: the detector's.
        recipe: how it was trained, in words; empty where nobody said.
        weights: its state dict; of a run that averages its weights, the averaged ones.
        untrained: the parts that no training has reached.
    """

    path: Path
    config: DetectorConfig
    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]
    recipe: str
    weights: dict[str, Tensor]
    untrained: frozenset[str]

    def detector(self, config: DetectorConfig | None = None) -> Detector:
        """The detector, on the CPU and in evaluation mode; with another `config` that the same weights fit, if given.

        Raises:
            CheckpointError: the weights do not fit the configuration.
        """
        detector = Detector(without_download(config or self.config), self.class_names)
        load_weights(detector, self.weights, self.path)
        detector.untrained = self.untrained
        detector.category_ids = self.category_ids
        return detector.eval()


def read_checkpoint(path: Path, overrides: Sequence[str] = ()) -> Checkpoint:
    """What `path` holds of a detector.

    Args:
        path: the checkpoint.
        overrides: "rpn.post_nms_test=100": those of TEST_SETTINGS that are to be other than in the checkpoint.

    Raises:
        CheckpointError: the file is missing, damaged or not ours; its classes have names or ids that cannot be; or an
            override names another setting, or a value that cannot be.
    """
    content = _read(path)
    names = tuple(content["class_names"])
    ids = tuple(content.get("category_ids", range(1, len(names) + 1)))
    wrong = fault_of(names) or fault_of_ids(ids, len(names))
    if wrong:
        raise CheckpointError(f"{path}: {wrong}")
    try:
        config = from_mapping(DetectorConfig, content["config"], str(path))
        for override in overrides:
            if override.partition("=")[0].strip() not in TEST_SETTINGS:
                raise ConfigError(f"--set {override}: expected one of {', '.join(TEST_SETTINGS)}")
            apply_override(content["config"], override)
            config = from_mapping(DetectorConfig, content["config"], f"--set {override}")
    except ConfigError as error:
        raise CheckpointError(str(error)) from None
    untrained = frozenset(content.get("untrained", ()))
    recipe = str(content.get("recipe", ""))
    return Checkpoint(path, config, names, ids, recipe, _averaged(content), untrained)


def load_detector(path: Path, overrides: Sequence[str] = ()) -> Detector:
    """The detector of `path`: `read_checkpoint`, whose errors it raises, and then `Checkpoint.detector`."""
    return read_checkpoint(path, overrides).detector()


def add_test_settings(parser: argparse.ArgumentParser) -> None:
    """Add `--set`, the overrides of `read_checkpoint`."""
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help=f"other than in the checkpoint, one of {', '.join(TEST_SETTINGS)}",
    )


def require_trained(detector: Detector, parts: set[str], path: Path) -> None:
    """Refuse a detector with one of `parts` untrained.

    Raises:
        CheckpointError: so it is.
    """
    for part in sorted(detector.untrained & parts):
        raise CheckpointError(
            f"{path}: expected a checkpoint whose part {part!r} is trained, got that of a stage which left it out"
        )


def without_download(config: DetectorConfig) -> DetectorConfig:
    """`config` for a detector whose weights come from a checkpoint: none are downloaded or read elsewhere."""
    return replace(config, backbone=replace(config.backbone, weights="none"))


def load_training(path: Path) -> TrainingState:
    """The state of the run that wrote `path`.

    Raises:
        CheckpointError: the file is not a checkpoint, or is one without training state.
    """
    training = _read(path).get("training")
    names = {field.name for field in fields(TrainingState)}
    if not isinstance(training, dict) or training.keys() != names:
        raise CheckpointError(
            f"{path}: expected the last checkpoint of a run, got a finished model, or a run of another version"
        )
    return TrainingState(**training)


def restore_weights(detector: Detector, path: Path) -> None:
    """Put the weights of the checkpoint `path` into `detector`.

    Raises:
        CheckpointError: the file is not a checkpoint, or is one of other classes or another network.
    """
    content = _read(path)
    if tuple(content["class_names"]) != detector.class_names:
        raise CheckpointError(
            f"{path}: expected classes {list(detector.class_names)}, got {content['class_names']}"
        )
    load_weights(detector, content["model"], path)
    detector.untrained = frozenset(content.get("untrained", ()))


def load_weights(detector: Detector, state: dict[str, Tensor], path: Path) -> None:
    """Put `state` into `detector`.

    Raises:
        CheckpointError: a tensor is missing, surplus or of another shape; all three are counted, the first named.
    """
    expected = detector.state_dict()
    missing = sorted(expected.keys() - state.keys())
    surplus = sorted(state.keys() - expected.keys())
    common = sorted(expected.keys() & state.keys())
    wrong = [key for key in common if _shape(state[key]) != expected[key].shape]
    if missing or surplus or wrong:
        raise CheckpointError(
            f"{path}: not the weights of this {detector.config.backbone.name} detector:"
            f" {len(missing)} tensors missing {missing[:2]}, {len(surplus)} surplus {surplus[:2]},"
            f" {len(wrong)} of another shape {wrong[:2]}"
        )
    detector.load_state_dict(state)


def is_checkpoint(content: object) -> bool:
    """Whether a torch file's `content` is that of a checkpoint, whatever its format."""
    return isinstance(content, dict) and _NEEDED.keys() <= content.keys()


def _averaged(content: dict[str, Any]) -> dict[str, Tensor]:
    """The weights to evaluate and to export: the averaged ones of a run that keeps them, else the weights."""
    weights: dict[str, Tensor] = content["model"]
    training = content.get("training")
    average = training.get("average") if isinstance(training, dict) else None
    if not average:
        return weights
    # torch's AveragedModel holds the detector as `module`, and a counter
    return {k.removeprefix("module."): v for k, v in average.items() if k.startswith("module.")}


def _shape(value: object) -> torch.Size | None:
    return value.shape if isinstance(value, Tensor) else None


def _read(path: Path) -> dict[str, Any]:
    try:
        content = read_torch_file(path)
    except UnreadableFile as error:
        raise CheckpointError(f"{path}: expected a checkpoint of fpn-train, got {error}") from None
    if not isinstance(content, dict) or any(
        not isinstance(content.get(key), kind) for key, kind in _NEEDED.items()
    ):
        raise CheckpointError(
            f"{path}: expected a checkpoint of fpn-train with {sorted(_NEEDED)}, got another torch file"
        )
    if content["format"] != FORMAT:
        raise CheckpointError(
            f"{path}: expected checkpoint format {FORMAT}, got {content['format']}; use the version that wrote it"
        )
    halves = content.pop("halves", {})
    content["model"] |= {name: from_planes(planes) for name, planes in halves.items()}
    return content
