"""What `fpn-eval --json` measured of a checkpoint, as the manifest has it: by label, not by name."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from model.errors import Refused


class UnfitMeasurement(Refused):
    """A file that is not of fpn-eval, or of other classes or levels; one line says what was expected."""


@dataclass(frozen=True)
class Measured:
    """What was measured; empty where it was not.

    Attributes:
        accuracy: name -> figure.
        thresholds, reference: as in docs/artifact.md.
    """

    accuracy: Mapping[str, float] = field(default_factory=dict)
    thresholds: dict[str, Any] | None = None
    reference: dict[str, Any] | None = None


def read_measured(path: Path, class_names: Sequence[str], level_names: Sequence[str]) -> Measured:
    """What the file at `path` holds of a detector with these classes and levels.

    Raises:
        UnfitMeasurement: it holds something else.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return measured_of(values, class_names, level_names)
    except KeyError as error:
        raise UnfitMeasurement(
            f"--accuracy {path}: expected the JSON of fpn-eval for this detector, but it says nothing of {error}"
        ) from None
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise UnfitMeasurement(
            f"--accuracy {path}: expected the JSON of fpn-eval, got {error}"
        ) from None


def measured_of(
    values: Mapping[str, Any], class_names: Sequence[str], level_names: Sequence[str]
) -> Measured:
    """What the JSON `values` of an evaluation say of a detector with these classes and levels.

    Raises:
        KeyError: they say nothing of one of them.
    """
    thresholds, reference = values.get("thresholds"), values.get("reference")
    accuracy = {name: value for name, value in values.items() if isinstance(value, int | float)}
    for name, figures in values.get("classes", {}).items():
        accuracy |= {f"{of}/{name}": value for of, value in figures.items() if value is not None}
    return Measured(
        accuracy,
        thresholds and _by_label(thresholds, class_names),
        reference and _counts_by_place(reference, class_names, level_names),
    )


def _by_label(thresholds: dict[str, Any], class_names: Sequence[str]) -> dict[str, Any]:
    # A class that the data set does not have has no threshold.
    classes = thresholds["classes"]
    return {"every": thresholds["every"], "classes": [classes.get(name) for name in class_names]}


def _counts_by_place(
    reference: dict[str, Any], class_names: Sequence[str], level_names: Sequence[str]
) -> dict[str, Any]:
    scores = [reference["scores"][name] for name in class_names]
    return reference | {
        "scores": {
            "edges": scores[0]["edges"],
            "counts": [histogram["counts"] for histogram in scores],
        },
        "levels": [reference["levels"][name] for name in level_names],
    }
