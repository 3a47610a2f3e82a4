"""A folder of labelled photographs as people have it: its format, its splits, and where the images of each are.

data.yaml                                     YOLO, with its own list of splits
train/, valid/, test/ with labels in each     Roboflow's exports, and YOLO without a data.yaml of paths
Annotations/, JPEGImages/, ImageSets/Main/    VOC's own sets
train.json, instances_val.json, test.csv ...  at the top or in annotations/, images in one of the usual places
anything else                                 one split without a name, "all"
"""

from dataclasses import dataclass
from pathlib import Path

from model.config.training import FormatName
from model.data.annotations import Document
from model.data.faults import DataError, some
from model.data.formats.labels import SUFFIXES
from model.data.formats.reading import format_of, read_labels
from model.data.formats.voc import read_voc
from model.data.formats.yolo import class_names, read_yaml, read_yolo, split_images
from model.data.image_files import image_path
from model.text_files import read_text

ALL = "all"
# How others call the splits, in the order in which they are told.
SPLITS = {
    "train": ("train", "training", "trainval"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}


@dataclass(frozen=True)
class Split:
    """The labels of a split, and the folder that its file names start from."""

    name: str
    format: FormatName
    source: Path
    images: Path
    document: Document


def find_splits(folder: Path) -> list[Split]:
    """The splits in `folder`, train, val and test of them; or one, "all". A file of labels is taken by itself.

    Raises:
        DataError: there are no labels, several for a split, or they contradict themselves.
    """
    if folder.is_file():
        return (
            _of_yaml(folder)
            if folder.suffix in (".yaml", ".yml")
            else [_of_file(ALL, folder, folder.parent)]
        )
    if not folder.is_dir():
        raise DataError(f"{folder}: expected a folder of labelled photographs, got none")
    for path in (*sorted(folder.glob("*.yaml")), *sorted(folder.glob("*.yml"))):
        return _of_yaml(path)
    if (folder / "ImageSets" / "Main").is_dir():
        return _of_voc(folder)
    return _of_folders(folder) or _of_files(folder) or [_whole(ALL, folder)]


def split_name(text: str) -> str | None:
    """Which split a name of a file or folder speaks of."""
    words = text.lower().replace("-", "_").replace(".", "_").replace("2017", "").split("_")
    return next(
        (split for split, others in SPLITS.items() if any(word in others for word in words)), None
    )


def _of_yaml(path: Path) -> list[Split]:
    values = read_yaml(path)
    names = class_names(values)
    splits = []
    for split, others in SPLITS.items():
        key = next((key for key in others if values.get(key)), None)
        if key is None:
            continue
        files = [file.absolute() for file in split_images(path, values, key)]
        images = _common(files, path)
        labels = read_yolo(path, images, names, files)
        splits.append(Split(split, "yolo", path, images, labels.document()))
    if not splits:
        raise DataError(f"{path}: expected train, val or test, got {some(sorted(values))}")
    return splits


def _common(files: list[Path], path: Path) -> Path:
    """The folder that all files are in."""
    if not files:
        raise DataError(f"{path}: no images where it looks for them")
    parents = [set(file.parents) for file in files]
    return max(set.intersection(*parents), key=lambda each: len(each.parts))


def _of_voc(folder: Path) -> list[Split]:
    splits = []
    for split, others in SPLITS.items():
        lists = [folder / "ImageSets" / "Main" / f"{other}.txt" for other in others]
        there = next((path for path in lists if path.is_file()), None)
        if there is None:
            continue
        stems = [line.split()[0] for line in read_text(there).splitlines() if line.strip()]
        files = [folder / "Annotations" / f"{stem}.xml" for stem in stems]
        images = folder / "JPEGImages"
        splits.append(Split(split, "voc", there, images, read_voc(there, files, images).document()))
    return splits


def _of_folders(folder: Path) -> list[Split]:
    """Splits in folders of their names, which hold both labels and images (in whatever order of folders)."""
    found = {}
    for path in sorted(folder.iterdir()):
        split = SPLIT_OF.get(path.name.lower())
        if path.is_dir() and split and _has_labels(path):
            found[split] = _whole(split, path)
    return [found[split] for split in SPLITS if split in found]


SPLIT_OF = {other: split for split, others in SPLITS.items() for other in others}


def _has_labels(folder: Path) -> bool:
    return any(
        path.suffix.lower() in (".json", ".xml", ".csv", ".txt") for path in folder.rglob("*")
    )


def _whole(split: str, folder: Path) -> Split:
    """All labels in a folder, in one format; its images are in it, or in `images` of it."""
    format = format_of(folder)
    if format == "yolo":
        labels = folder / "labels" if (folder / "labels").is_dir() else folder
        images = folder / "images" if (folder / "images").is_dir() else folder
        return Split(split, format, labels, images, read_labels(labels, images, format))
    if format in ("voc", "labelme"):
        return Split(split, format, folder, folder, read_labels(folder, folder, format))
    files = [p for p in sorted(folder.rglob("*")) if p.suffix.lower() in (".json", ".csv", ".xml")]
    if len(files) > 1:
        raise DataError(
            f"{folder}: several files of labels: {some([str(p.relative_to(folder)) for p in files])}; give one of them,"
            " or leave those for training and validation"
        )
    return _of_file(split, files[0], folder)


def _of_files(folder: Path) -> list[Split]:
    """Splits in files of their names, at the top or in annotations/."""
    found: dict[str, list[Path]] = {}
    for place in (folder, folder / "annotations", folder / "Annotations", folder / "labels"):
        for path in sorted(place.glob("*")) if place.is_dir() else []:
            if path.suffix.lower() in (".json", ".csv", ".xml") and (
                split := split_name(path.stem)
            ):
                found.setdefault(split, []).append(path)
    for split, paths in found.items():
        if len(paths) > 1:
            raise DataError(
                f"{folder}: several files of labels for {split}: {some([path.name for path in paths])}; leave one"
            )
    return [_of_file(split, found[split][0], folder) for split in SPLITS if split in found]


def _of_file(split: str, path: Path, folder: Path) -> Split:
    format = format_of(path)
    places = [
        folder / "images" / split,
        *(folder / "images" / other for other in SPLITS.get(split, ())),
        *(folder / other for other in SPLITS.get(split, ())),
        *(folder / f"{other}2017" for other in SPLITS.get(split, ())),
        folder / "images",
        folder / "JPEGImages",
        path.parent,
        path.parent.parent / "images",
        folder,
    ]
    best: Split | None = None
    for images in (each for each in places if each.is_dir()):
        document = read_labels(path, images, format)
        here = Split(split, format, path, images, document)
        first = document.images[:5]
        if first and all(image_path(images, image.file_name).is_file() for image in first):
            return here
        best = here if best is None or _has_images(images) else best
    if best is None:
        raise DataError(f"{path}: no folder of images near it")
    return best


def _has_images(folder: Path) -> bool:
    return any(path.suffix.lower() in SUFFIXES for path in folder.iterdir())
