"""torchvision's published weights, downloaded once and verified every time."""

import hashlib
from difflib import get_close_matches
from http.client import HTTPException
from pathlib import Path

import torch
from torchvision.models import get_model_weights

from model.importers.layout import ImportRefused

# Each has one file, COCO_V1, the last eight digits of whose name begin its SHA-256.
PUBLISHED = (
    "fasterrcnn_resnet50_fpn",
    "fasterrcnn_resnet50_fpn_v2",
    "fasterrcnn_mobilenet_v3_large_fpn",
    "fasterrcnn_mobilenet_v3_large_320_fpn",
    "maskrcnn_resnet50_fpn",
    "maskrcnn_resnet50_fpn_v2",
)
SCHEME = "torchvision://"


def published_weights(name: str) -> tuple[Path, str] | None:
    """The file of "torchvision://NAME" and torchvision's NAME; None where `name` is no such address.

    "coco" stands for the first of `PUBLISHED`.

    Raises:
        ImportRefused: none of that name is published or can be imported, or it cannot be had.
    """
    if not name.startswith(SCHEME):
        return None
    model = name.removeprefix(SCHEME)
    model = PUBLISHED[0] if model == "coco" else model
    if model not in PUBLISHED:
        near = ", ".join(get_close_matches(model, PUBLISHED, n=3, cutoff=0.0))
        raise ImportRefused(
            f"expected {SCHEME} with one of {near}, or another that can be imported"
        )
    return published_file(str(get_model_weights(model)["COCO_V1"].url)), model


def published_file(url: str) -> Path:
    """The file at `url`, whose name ends in the start of its SHA-256: from torch.hub's cache, or downloaded to it.

    Raises:
        ImportRefused: it cannot be downloaded, or is not the file that was published.
    """
    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    published = path.stem.rpartition("-")[2]
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            # Beside its name, and renamed when whole and of that hash.
            torch.hub.download_url_to_file(url, str(path), hash_prefix=published)
        except (OSError, HTTPException) as error:
            raise ImportRefused(
                f"{url} could not be downloaded ({error}); fetch it on a machine with a network, and give the file's"
                " path in its place"
            ) from None
        except RuntimeError as error:  # another hash
            raise ImportRefused(f"{url} is not the file that was published ({error})") from None
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if not found.startswith(published):
        raise ImportRefused(
            f"{path}: expected a SHA-256 that begins with {published}, got {found[:16]}; delete the file"
        )
    return path
