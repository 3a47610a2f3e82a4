"""What a training stage starts from, what it holds fixed, and what of a detector it leaves untrained.

The paper trains the two stages apart (section 5); joint training is everyone's habit since, and the default.

    rpn    backbone, pyramid and proposal head, by the proposal losses alone
    fast   backbone, pyramid and region head, on the proposals of a file
    joint  all of it at once

Composed, they make the 4-step training of Faster R-CNN (Ren et al. 2015, section 3.2) that table 5 calls sharing; see
docs/ablations.md.
"""

import logging
from pathlib import Path

from torch import Tensor, nn

from model.config.training import PartName, StageName, TrainConfig
from model.network.checkpoint import CheckpointError, read_parts
from model.network.detector import Detector

logger = logging.getLogger(__name__)

# The attribute of a detector that each part is; also the start of its tensors' names.
ATTRIBUTES: dict[PartName, str] = {
    "backbone": "backbone",
    "pyramid": "fpn",
    "rpn": "rpn",
    "roi": "roi",
}
# The part that no loss of the stage reaches.
UNREACHED: dict[StageName, frozenset[PartName]] = {
    "rpn": frozenset({"roi"}),
    "fast": frozenset({"rpn"}),
    "joint": frozenset(),
}


def begin_stage(detector: Detector, config: TrainConfig, *, resumed: bool) -> None:
    """Make a fresh detector ready for the stage: inherited weights, and fixed what is not to train.

    Args:
        detector: as it was built, on any device.
        config: of the run: `stage`, `init` and `freeze`.
        resumed: its weights come from the run's own checkpoint, nothing is inherited.

    Raises:
        CheckpointError: `init` cannot be read, or has no part that fits.
    """
    inherited: set[PartName] = set()
    if config.init is not None and not resumed:
        inherited = inherit(detector, config.init)
    unreached = UNREACHED[config.stage]
    detector.untrained = unreached - inherited
    for part in {*config.freeze, *unreached}:
        _module(detector, part).requires_grad_(False)


def inherit(detector: Detector, path: Path) -> set[PartName]:
    """Take over the trained parts of a checkpoint whose tensors are those of the detector's; return which.

    Raises:
        CheckpointError: the file is no checkpoint, or none of its parts fits.
    """
    state, untrained = read_parts(path)
    taken: set[PartName] = set()
    for part, attribute in ATTRIBUTES.items():
        module, prefix = _module(detector, part), f"{attribute}."
        given = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
        if part not in untrained and given and _shapes(given) == _shapes(module.state_dict()):
            module.load_state_dict(given)
            taken.add(part)
    if not taken:
        raise CheckpointError(
            f"{path}: expected a checkpoint with a part like this detector's: none of {list(ATTRIBUTES)} fits"
        )
    left = [part for part in ATTRIBUTES if part not in taken]
    logger.info("from %s: %s%s", path, ", ".join(sorted(taken)), f"; not {left}" if left else "")
    return taken


def _shapes(state: dict[str, Tensor]) -> dict[str, object]:
    return {name: tensor.shape for name, tensor in state.items()}


def _module(detector: Detector, part: PartName) -> nn.Module:
    return detector.get_submodule(ATTRIBUTES[part])
