"""Recipes that ship, and the least that a run says."""

from pathlib import Path
from typing import Any

import model

SHIPPED = sorted((Path(str(model.__file__)).parent / "recipes").rglob("*.toml"))
DATA = {"root": "photos", "train_annotations": "train.json", "train_images": "images"}
RUN: dict[str, Any] = {"name": "a run", "data": DATA}
