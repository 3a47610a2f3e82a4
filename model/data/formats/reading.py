"""Labels of any format as a COCO document: which format they are in, and who reads it.

coco           a json with images, annotations and categories; Roboflow's too
yolo           data.yaml, or a folder of text files with the class names near it
voc            a folder of XML files, one for each image
csv            a row for each object
cvat           CVAT's XML of all images
labelstudio    Label Studio's JSON
labelme        a folder of JSON files, one for each image
"""

import json
from collections.abc import Callable
from pathlib import Path

from model.config.training import FormatName
from model.data.annotations import Document, read_document
from model.data.faults import DataError, some
from model.data.formats.cvat import read_cvat
from model.data.formats.label_studio import read_label_studio
from model.data.formats.labelme import is_labelme, read_labelme
from model.data.formats.labels import Labels, image_files, require_one_of
from model.data.formats.table import read_csv
from model.data.formats.voc import parse, read_voc
from model.data.formats.yolo import CLASS_FILES, class_names, names_near, read_yaml, read_yolo
from model.text_files import read_text

EXPECTED = (
    "expected COCO's or Label Studio's json, YOLO's data.yaml or text files, VOC's or CVAT's XML, labelme's json files"
    " or a CSV"
)


def read_labels(annotations: Path, images: Path, format: FormatName = "auto") -> Document:
    """The labels in the file or folder `annotations`, of images below `images`.

    Args:
        annotations: in one of the formats.
        images: the folder that file names start from.
        format: which; "auto" looks.

    Raises:
        DataError: they contradict themselves, or are in another format.
    """
    kind = format_of(annotations) if format == "auto" else format
    if annotations.is_dir() and kind in _IN_ONE_FILE:
        annotations = _only_file(annotations)
    if kind == "coco":
        return read_document(annotations)
    return _READERS[kind](annotations, images).document()


def format_of(path: Path) -> FormatName:
    """Which format the labels in a file or folder are in.

    Raises:
        DataError: none that is known.
    """
    if path.is_dir():
        return _format_of_folder(path)
    suffix = path.suffix.lower()
    if suffix == ".csv":
        return "csv"
    if suffix in (".yaml", ".yml"):
        return "yolo"
    if suffix == ".xml":
        return _format_of_xml(path)
    return _format_of_json(path)


def label_files(folder: Path) -> list[Path]:
    """The files of labels right in a folder: json, XML, CSV, and text beside images."""
    found = [path for path in sorted(folder.iterdir()) if path.is_file()]
    return [path for path in found if path.suffix.lower() in _SUFFIXES]


# Of a json, which may be of hundreds of megabytes, that tells its kind.
_HEAD = 4096
_SUFFIXES = {".json", ".xml", ".csv", ".txt"}
_IN_ONE_FILE = ("coco", "csv", "cvat", "labelstudio")


def _format_of_folder(folder: Path) -> FormatName:
    texts = False
    for path in sorted(folder.rglob("*")):
        suffix = path.suffix.lower()
        if suffix in (".json", ".xml", ".csv"):
            return format_of(path)
        texts = texts or (suffix == ".txt" and path.name not in CLASS_FILES)
    if texts:
        return "yolo"
    raise DataError(f"{folder}: no labels in it: {EXPECTED}")


def _format_of_xml(path: Path) -> FormatName:
    tag = parse(path).tag
    if tag not in ("annotation", "annotations"):
        raise DataError(f"{path}: expected VOC's <annotation> or CVAT's <annotations>, got <{tag}>")
    return "voc" if tag == "annotation" else "cvat"


def _format_of_json(path: Path) -> FormatName:
    try:
        with path.open("rb") as file:
            # Of UTF-16 the letters, of a byte order mark nothing.
            head = file.read(_HEAD).replace(b"\0", b"").lstrip(b"\xef\xbb\xbf\xff\xfe \r\n\t")
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    if head.startswith(b"["):
        return "labelstudio"
    if b'"shapes"' in head and is_labelme(_json(path, read_text(path))):
        return "labelme"
    return "coco"


def _json(path: Path, text: str) -> object:
    try:
        values: object = json.loads(text)
    except ValueError as error:
        raise DataError(f"{path}: not valid JSON: {error}; {EXPECTED}") from None
    return values


def _only_file(folder: Path) -> Path:
    names = [path.name for path in label_files(folder)]
    return folder / require_one_of(names, "file of labels", folder)


def _read_yolo(annotations: Path, images: Path) -> Labels:
    files = list(image_files(images).values())
    if annotations.is_file():
        names = class_names(read_yaml(annotations))
        return read_yolo(annotations, images, names, files)
    labels = annotations if annotations != images and _has_texts(annotations) else None
    return read_yolo(annotations, images, names_near(annotations), files, labels)


def _has_texts(folder: Path) -> bool:
    return any(path.name not in CLASS_FILES for path in folder.rglob("*.txt"))


def _read_voc(annotations: Path, images: Path) -> Labels:
    files = sorted(annotations.rglob("*.xml")) if annotations.is_dir() else [annotations]
    return read_voc(annotations, files, images)


def _read_label_studio(annotations: Path, images: Path) -> Labels:
    tasks = _json(annotations, read_text(annotations))
    if not isinstance(tasks, list):
        raise DataError(f"{annotations}: expected Label Studio's list of tasks, got another file")
    return read_label_studio(annotations, tasks, images)


def _read_labelme(annotations: Path, images: Path) -> Labels:
    files = sorted(annotations.rglob("*.json")) if annotations.is_dir() else [annotations]
    found = read_labelme(annotations, files, images)
    if not found.entries:
        raise DataError(f"{annotations}: no json of labelme among {some([p.name for p in files])}")
    return found


def _read_cvat(annotations: Path, images: Path) -> Labels:
    return read_cvat(annotations, parse(annotations), images)


_READERS: dict[FormatName, Callable[[Path, Path], Labels]] = {
    "yolo": _read_yolo,
    "voc": _read_voc,
    "csv": read_csv,
    "cvat": _read_cvat,
    "labelstudio": _read_label_studio,
    "labelme": _read_labelme,
}
