"""Whether a run may begin in its folder, or go on from what is there."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from model.config.files import ConfigError, from_mapping, to_mapping
from model.config.training import PrecisionName, TrainConfig
from model.errors import Refused
from model.network.checkpoint import TrainingState, load_training
from model.training.precision import Precision

logger = logging.getLogger(__name__)

# What may differ between a run and its resumption: nothing here changes the loss of a step that was done.
FREE_KEYS = {
    "name",
    "checkpoint_every",
    "eval_every",
    "keep_every",
    "best_metric",
    "patience",
    "report",
    # what it comes to is compared by itself
    "precision",
    "schedule.steps",
    # but for rounding
    "schedule.accumulate",
    *(f"data.{key}" for key in ("root", "format", "workers", "verify")),
    *(f"data.val_{key}" for key in ("annotations", "images", "proposals")),
    # their content counts, which is in the data's digest
    "data.train_proposals",
}


class RunError(Refused):
    """A run that cannot begin or go on in its folder; the message says why and what to do."""


def require_no_run(last: Path) -> None:
    """Refuses a folder with the checkpoint `last` of another run.

    Raises:
        RunError: there is one.
    """
    if last.exists():
        raise RunError(f"{last} exists: pass --resume to go on from it, or another --out")


def interrupted(
    last: Path, config: TrainConfig, data_digest: str, precision: Precision
) -> TrainingState:
    """The state of the checkpoint `last`, for a run that goes on as if it had not stopped.

    In another precision it goes on only where the configuration asks for that by name, and says so: its losses are not
    those that the uninterrupted run would have had.

    Raises:
        RunError: there is none; or it is that of another configuration or of other data; or `auto` comes to another
            precision here than where it was begun.
        CheckpointError: it cannot be read.
    """
    if not last.exists():
        raise RunError(f"{last}: no checkpoint to resume from; start without --resume")
    state = load_training(last)
    different = sorted(differences(_spelled_out(state.config), to_mapping(config)))
    if different:
        raise RunError(
            f"{last}: begun with another configuration: {'; '.join(different)}."
            " Resume with the same one, or start anew with another --out"
        )
    if state.data_digest != data_digest:
        raise RunError(
            f"{last}: begun with other training data: images, sizes, boxes or proposals are not the same."
            " Resume with the same data, or start anew with another --out"
        )
    if state.precision != precision.name:
        _go_on_in(last, state.precision, precision, config.precision)
    return state


def _spelled_out(config: dict[str, Any]) -> dict[str, Any]:
    """`config` with the defaults of the settings that there were not when it was written."""
    try:
        return to_mapping(from_mapping(TrainConfig, config, "the checkpoint"))
    except ConfigError:  # settings that are no longer there; the comparison names them
        return config


def _go_on_in(last: Path, then: str, now: Precision, asked: PrecisionName) -> None:
    """Says that the numbers change; refuses it where nobody has asked for that."""
    if asked == "auto":
        raise RunError(
            f"{last}: begun in {then}, and would go on in {now}, with other losses. Resume on a machine like the first,"
            " or say what it goes on in with --set precision=float32 or --set precision=mixed"
        )
    logger.warning(
        "%s: begun in %s, goes on in %s: its losses are not those of a run without interruption",
        last,
        then,
        now,
    )


def differences(then: dict[str, Any], now: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """What differs between two nested configurations, a line a key; not the keys that are free."""
    for key in then.keys() | now.keys():
        name, old, new = prefix + key, then.get(key), now.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            yield from differences(old, new, f"{name}.")
        elif old != new and name not in FREE_KEYS:
            yield f"{name} was {old}, is {new}"
