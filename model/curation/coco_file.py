"""Documents to COCO's json."""

import os
from pathlib import Path

from model.data.annotations import Document


def save_document(path: Path, document: Document, images: Path, start: Path) -> None:
    """Writes `document`, whose file names start from `images`, as a COCO json whose file names start from `start`."""
    values = document.model_dump(exclude_none=True)
    for entry in values["images"]:
        entry["file_name"] = Path(os.path.relpath(images / entry["file_name"], start)).as_posix()
    for entry in values["annotations"]:
        entry["area"] = entry.get("area", entry["bbox"][2] * entry["bbox"][3])
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = Document.model_validate(values)
    path.write_text(whole.model_dump_json(exclude_none=True) + "\n", encoding="utf-8")
