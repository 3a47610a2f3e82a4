"""What training begins from: a checkpoint of ours, or weights of another project, which are imported on the way."""

from collections.abc import Callable
from pathlib import Path

from model.importers.detectron2 import import_detectron2, read_detectron2
from model.importers.families import Project, project_of
from model.importers.layout import UNNAMED, ImportRefused
from model.importers.mmdetection import import_mmdetection
from model.importers.torchvision import import_torchvision
from model.network.checkpoint import Checkpoint, CheckpointError, is_checkpoint, read_checkpoint
from model.network.detector import Detector
from model.network.torch_file import UnreadableFile

_IMPORTS: dict[Project, Callable[[object, tuple[str, ...]], Detector]] = {
    "torchvision": import_torchvision,
    "detectron2": import_detectron2,
    "mmdetection": import_mmdetection,
}


def read_start(path: Path) -> Checkpoint:
    """What the file at `path` holds of a detector.

    The classes of another project's weights are COCO's where they are as many, else nobody knows their names.

    Raises:
        Refused: the file cannot be read, or is of something else.
    """
    try:
        content = read_detectron2(path)
    except UnreadableFile as error:
        raise CheckpointError(f"{path}: {error}") from None
    if is_checkpoint(content):
        return read_checkpoint(path)
    try:
        detector = _IMPORTS[project_of(content)](content, UNNAMED)
    except ImportRefused as error:
        raise ImportRefused(
            f"{path}: {error}; fpn-import can be told what is missing, and its checkpoint be given instead"
        ) from None
    return Checkpoint(
        path=path,
        config=detector.config,
        class_names=detector.class_names,
        category_ids=detector.category_ids,
        recipe="",
        weights=detector.state_dict(),
        untrained=frozenset(),
    )
