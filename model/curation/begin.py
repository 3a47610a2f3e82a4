"""A run from a folder of labelled photographs: what `fpn-train --data FOLDER` writes before it trains.

RUN/data/train.json, val.json     the labels, in COCO's form; file names start from the images' folder
RUN/config.toml                   the run, chosen for them: change it, and train with it
"""

import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from model.curation.choice import chosen
from model.curation.coco_file import save_document
from model.curation.splitting import divided, groups_of
from model.data.coco import CocoDataset
from model.data.formats.splits import Split, find_splits
from model.errors import Refused

logger = logging.getLogger(__name__)

CONFIG = "config.toml"
VAL_SHARE = 0.2


def begin(folder: Path, run: Path, *, gpu: bool) -> Path:
    """The configuration of a run on `folder`, written into `run`; what was chosen is logged.

    Raises:
        Refused: the folder holds no labels that could be trained on.
    """
    splits = {split.name: split for split in _with_validation(find_splits(folder))}
    data = run / "data"
    data.mkdir(parents=True, exist_ok=True)
    values: dict[str, Any] = {}
    for name in ("train", "val"):
        split = splits[name]
        save_document(data / f"{name}.json", split.document, split.images, split.images)
        values[f"{name}_annotations"] = f"{name}.json"
        values[f"{name}_images"] = str(split.images.absolute())
    training = CocoDataset.read(data / "train.json", splits["train"].images)
    if not training.inventory.boxes:
        raise Refused(f"{splits['train'].source}: nothing to learn from: no boxes")
    choice = chosen(training, gpu=gpu)
    for reason in choice.reasons:
        logger.info("%s", reason)
    whole = {"name": run.name, **choice.values}
    whole["data"] = {"root": "data", **values, **choice.values["data"]}
    text = f"# Chosen for {folder}:\n" + "".join(f"#   {reason}\n" for reason in choice.reasons)
    text += "\n".join(toml_lines(whole)) + "\n"
    (run / CONFIG).write_text(text, encoding="utf-8")
    logger.info("%s:\n\n%s", run / CONFIG, text)
    return run / CONFIG


def _with_validation(splits: list[Split]) -> list[Split]:
    """Train and val, the latter taken from the former where there is none."""
    names = {split.name: split for split in splits}
    training = names.get("train") or (splits[0] if len(splits) == 1 else None)
    if training is None:
        raise Refused(
            f"{splits[0].source}: expected photographs to train on, got only {', '.join(names)}"
        )
    if "val" in names:
        return [training, names["val"]]
    groups = groups_of(training.document, training.images)
    parts = divided(training.document, groups, {"train": 1.0, "val": VAL_SHARE})
    logger.info("validation: %d photographs taken from training", len(parts["val"].images))
    return [
        Split(name, training.format, training.source, training.images, document)
        for name, document in parts.items()
    ]


def toml_lines(values: Mapping[str, Any], above: str = "") -> Iterator[str]:
    """Plain nested values as TOML, line by line."""
    tables = {key: value for key, value in values.items() if isinstance(value, Mapping)}
    for key, value in values.items():
        if key not in tables:
            # A string, a number, a truth value or a list of them is written alike in JSON and TOML.
            yield f"{key} = {json.dumps(value, ensure_ascii=False)}"
    for key, value in tables.items():
        name = f"{above}{key}"
        if any(not isinstance(each, Mapping) for each in value.values()):
            yield ""
            yield f"[{name}]"
        yield from toml_lines(value, f"{name}.")
