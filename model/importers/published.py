"""torchvision's published weights, downloaded once and verified every time."""

import hashlib
from http.client import HTTPException
from pathlib import Path

import torch

from model.importers.layout import ImportRefused

# 37.0 box AP on COCO val2017. The last eight digits of the name begin the SHA-256 of the file.
COCO_URL = "https://download.pytorch.org/models/fasterrcnn_resnet50_fpn_coco-258fb6c6.pth"


def published_file(url: str = COCO_URL) -> Path:
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
                " path in place of torchvision://coco"
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
