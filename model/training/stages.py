"""What a training stage starts from, what it holds fixed, and what of a detector it leaves untrained.

The paper trains the two stages apart (section 5); joint training is everyone's habit since, and the default.

    rpn    backbone, pyramid and proposal head, by the proposal losses alone
    fast   backbone, pyramid and region head, on the proposals of a file
    joint  all of it at once

Composed, they make the 4-step training of Faster R-CNN (Ren et al. 2015, section 3.2) that table 5 calls sharing; see
docs/ablations.md.
"""

import json
import logging

from torch import Tensor, nn

from model.config.detector import DetectorConfig
from model.config.files import to_mapping
from model.config.training import PartName, StageName, TrainConfig
from model.data.faults import some
from model.network.checkpoint import Checkpoint, CheckpointError
from model.network.detector import Detector, with_pixels

logger = logging.getLogger(__name__)

# The attribute of a detector that each part is; also the start of its tensors' names.
ATTRIBUTES: dict[PartName, str] = {
    "backbone": "backbone",
    "pyramid": "fpn",
    "rpn": "rpn",
    "roi": "roi",
}
# Of the region head the layers that predict classes, and the rows that a class has in them.
PREDICTORS = {"logits": 1, "deltas": 4}
# The settings that a backbone's weights are of, beside its name.
SIGHT = (
    ("pixels", "order"),
    ("pixels", "scale"),
    ("pixels", "mean"),
    ("pixels", "std"),
    ("backbone", "stride_in"),
    ("backbone", "dilated"),
)
# The part that no loss of the stage reaches.
UNREACHED: dict[StageName, frozenset[PartName]] = {
    "rpn": frozenset({"roi"}),
    "fast": frozenset({"rpn"}),
    "joint": frozenset(),
}


def begin_stage(detector: Detector, config: TrainConfig, start: Checkpoint | None) -> None:
    """Make a fresh detector ready for the stage: inherited weights, and fixed what is not to train.

    Args:
        detector: as it was built, on any device.
        config: of the run: `stage` and `freeze`.
        start: what it inherits from; None where nothing, or where its weights are those of the run's own checkpoint.

    Raises:
        CheckpointError: `start` has no part that fits.
    """
    inherited = inherit(detector, start) if start else set()
    unreached = UNREACHED[config.stage]
    detector.untrained = unreached - inherited
    for part in {*config.freeze, *unreached}:
        _module(detector, part).requires_grad_(False)


def inherit(detector: Detector, start: Checkpoint) -> set[PartName]:
    """Take over the trained parts whose tensors are those of the detector's; return which of them whole.

    Of the region head what predicts classes is taken row by row: a class gets the rows of the class of its name, and
    those without one stay fresh. Without any such class, or of other sizes, the head is left.

    Raises:
        CheckpointError: none of the parts fits.
    """
    _require_same_sight(detector, start)
    whole: set[PartName] = set()
    said = []
    for part, attribute in ATTRIBUTES.items():
        module, prefix = _module(detector, part), f"{attribute}."
        given = {
            key.removeprefix(prefix): value
            for key, value in start.weights.items()
            if key.startswith(prefix)
        }
        kept: tuple[str, ...] = ()
        if part == "roi" and start.class_names != detector.class_names:
            given, kept = _by_class(given, module.state_dict(), start, detector)
        if part in start.untrained or not given or _shapes(given) != _shapes(module.state_dict()):
            continue
        module.load_state_dict(given)
        new = [name for name in detector.class_names if name not in kept]
        if part == "roi" and start.class_names != detector.class_names and new:
            said.append(
                f"roi (predictors of {some(kept) if kept else 'no class'}; fresh ones of {some(new)})"
            )
        else:
            whole.add(part)
            said.append(part)
    if not said:
        raise CheckpointError(
            f"{start.path}: expected a checkpoint with a part like this detector's: none of {list(ATTRIBUTES)} fits"
        )
    left = [part for part in ATTRIBUTES if not any(each.startswith(part) for each in said)]
    logger.info("from %s: %s%s", start.path, ", ".join(said), f"; not {left}" if left else "")
    return whole


def brings_backbone(start: Checkpoint, config: DetectorConfig) -> bool:
    """Whether a network of `config` takes its backbone from `start`, and needs no other weights."""
    return start.config.backbone.name == config.backbone.name and "backbone" not in start.untrained


def _by_class(
    given: dict[str, Tensor], ours: dict[str, Tensor], start: Checkpoint, detector: Detector
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """`given` with `ours` for the predictors, but for the rows of the classes in both; and the names of these."""
    theirs = {name: label for label, name in enumerate(start.class_names)}
    labels = [
        (label, theirs[name]) for label, name in enumerate(detector.class_names) if name in theirs
    ]
    pairs = {1: [*labels, (len(detector.class_names), len(theirs))], 4: labels}  # background last
    merged = dict(given)
    for layer, rows in PREDICTORS.items():
        for key in (f"{layer}.weight", f"{layer}.bias"):
            if key not in given or given[key].shape[1:] != ours[key].shape[1:]:
                continue
            merged[key] = ours[key].clone()
            for label, source in pairs[rows]:
                merged[key][rows * label : rows * (label + 1)] = given[key][
                    rows * source : rows * (source + 1)
                ]
    return merged, tuple(detector.class_names[label] for label, _ in labels)


def _require_same_sight(detector: Detector, start: Checkpoint) -> None:
    """Refuses weights that have learnt to see other pixels, or to halve maps elsewhere: they would be noise here.

    Raises:
        CheckpointError: it says which settings they need.
    """
    ours, theirs = to_mapping(detector.config), to_mapping(with_pixels(start.config))
    if ours["backbone"]["name"] != theirs["backbone"]["name"]:
        return
    needed = [
        f"--set model.{group}.{key}={json.dumps(theirs[group][key])}"
        for group, key in SIGHT
        if ours[group][key] != theirs[group][key]
    ]
    if needed:
        raise CheckpointError(
            f"{start.path}: its weights were trained with other pixels or strides: give {' '.join(needed)}"
        )


def _shapes(state: dict[str, Tensor]) -> dict[str, object]:
    return {name: tensor.shape for name, tensor in state.items()}


def _module(detector: Detector, part: PartName) -> nn.Module:
    return detector.get_submodule(ATTRIBUTES[part])
