"""Configurations to and from files and plain values: TOML, JSON, `--set KEY=VALUE`, checkpoints.

A file may begin from another: `base = "other.toml"`. Its values win over the base's, key by key; a list replaces the
base's list. A relative path in a file starts from that file's folder, one on the command line from the working folder.
"""

import json
import os
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from model.config.training import TrainConfig
from model.errors import Refused
from model.text_files import TextError, read_text

Config = TypeVar("Config")

# The settings that are paths, but for those that start from `data.root`.
PATHS = {
    "init",
    "data.root",
    "data.train_proposals",
    "data.val_proposals",
    "model.backbone.weights",
}
_KINDS = {".toml": "TOML", ".json": "JSON"}
# How much of a wrong value a message shows, and how many faults it names.
_SHOWN, _NAMED = 60, 10


class ConfigError(Refused):
    """A configuration that cannot be used; the message names the key, what was expected and what came."""


def from_mapping(kind: type[Config], values: object, source: str) -> Config:
    """A `kind` built from nested plain values, as they come from TOML, JSON or a checkpoint.

    Raises:
        ConfigError: one line a fault, each naming `source`, the key, what was expected and what came.
    """
    try:
        # Strictly, as JSON: "200" is no number and 1 no truth value, but a list may stand for a tuple.
        return TypeAdapter(kind).validate_json(json.dumps(values, default=str), strict=True)
    except ValidationError as error:
        faults = [f"{source}: {_fault(item)}" for item in error.errors()]
        more = [f"and {len(faults) - _NAMED} more"] if len(faults) > _NAMED else []
        raise ConfigError("; ".join([*faults[:_NAMED], *more])) from None


def to_mapping(config: object) -> dict[str, Any]:
    """The plain nested values of a configuration, fit for JSON; `from_mapping` gives it back."""
    values: dict[str, Any] = TypeAdapter(type(config)).dump_python(config, mode="json")
    return values


def load_config(path: Path, overrides: tuple[str, ...] = ()) -> TrainConfig:
    """The run that a TOML or JSON file describes.

    Args:
        path: the file; its suffix says which.
        overrides: "schedule.steps=200": dotted keys and TOML values that win over the file's. A value that is no
            TOML is taken as a string.

    Raises:
        ConfigError: the file cannot be read or parsed, or holds an unknown key or a wrong value.
    """
    values = _with_base(path, ())
    for override in overrides:
        apply_override(values, override)
    return from_mapping(TrainConfig, values, str(path))


def apply_override(values: dict[str, Any], override: str) -> None:
    """Change nested plain `values` as "schedule.steps=200" says.

    Raises:
        ConfigError: it says nothing that could be done.
    """
    key, separator, text = override.partition("=")
    if not separator:
        raise ConfigError(f"--set {override}: expected KEY=VALUE")
    *parents, leaf = key.strip().split(".")
    for parent in parents:
        values = values.setdefault(parent, {})
        if not isinstance(values, dict):
            raise ConfigError(f"--set {override}: {parent} is a value, not a table")
    try:
        values[leaf] = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        values[leaf] = text.strip()


def changed(config: Config, overrides: Sequence[str], source: str) -> Config:
    """`config` with what `overrides` say, as in `apply_override`.

    Raises:
        ConfigError: an unknown key or a wrong value; `source` begins the message.
    """
    values = to_mapping(config)
    for override in overrides:
        apply_override(values, override)
    return from_mapping(type(config), values, source)


def _with_base(path: Path, above: tuple[Path, ...]) -> dict[str, Any]:
    """The values of a file over those of its base; `above` are the files that led here."""
    values = _values(path)
    base = values.pop("base", None)
    if base is None:
        return values
    if not isinstance(base, str):
        raise ConfigError(f"{path}: base: expected the path of a file, got {base!r}")
    parent, above = path.parent / base, (*above, path.resolve())
    if parent.resolve() in above:
        raise ConfigError(f"{path}: base = {base!r} leads back to where it began")
    return _merged(_with_base(parent, above), values)


def _values(path: Path) -> dict[str, Any]:
    try:
        text = read_text(path)
    except TextError as error:
        raise ConfigError(str(error)) from None
    kind = _KINDS.get(path.suffix.lower())
    if kind is None:
        raise ConfigError(f"{path}: expected a file of TOML or JSON, by its name, got {path.name}")
    try:
        values = json.loads(text) if kind == "JSON" else tomllib.loads(text)
    except ValueError as error:
        raise ConfigError(f"{path}: not valid {kind}: {error}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected a table of settings, got {type(values).__name__}")
    if values.keys() >= {"images", "categories"}:
        raise ConfigError(
            f"{path}: expected a table of settings, got COCO's annotations; a configuration names that file as"
            " data.train_annotations"
        )
    return _placed(values, path.parent)


def _placed(values: dict[str, Any], folder: Path, above: str = "") -> dict[str, Any]:
    """The values with the paths among them as seen from the working folder, not from the file's `folder`."""
    placed = dict(values)
    for key, value in values.items():
        name = above + key
        if isinstance(value, dict):
            placed[key] = _placed(value, folder, f"{name}.")
        elif name in PATHS and isinstance(value, str) and value not in ("hub", "none"):
            placed[key] = os.path.normpath(folder / value)
    return placed


def _merged(base: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in values.items():
        below = base.get(key)
        if isinstance(below, dict) and isinstance(value, dict):
            merged[key] = _merged(below, value)
        else:
            merged[key] = value
    return merged


def _fault(item: Any) -> str:
    key = ".".join(str(part) for part in item["loc"])
    if item["type"] in {"unexpected_keyword_argument", "extra_forbidden"}:
        return f"unknown key {key}"
    given = repr(item["input"])
    shown = given if len(given) <= _SHOWN else f"{given[:_SHOWN]}..."
    return f"{key or 'the whole'}: {item['msg']}, got {shown}"
