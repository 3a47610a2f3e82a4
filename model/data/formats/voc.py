"""Pascal VOC: an XML file for each image (LabelImg, Roboflow and the VOC sets themselves).

Corners are taken as they are, in pixels from 0; the VOC sets of 2005 to 2012 count them from 1, and say which set they
are in `source/database`. Difficult objects are ignored in training and scoring, as VOC does.
"""

from pathlib import Path
from xml.etree import ElementTree

from model.config.resize import Size
from model.data.faults import DataError
from model.data.formats.labels import Box, Labels, image_files
from model.text_files import decoded


def parse(path: Path) -> ElementTree.Element:
    """The root of an XML file.

    Raises:
        DataError: it is none.
    """
    try:
        content = path.read_bytes()
        # In the encoding that its own first line names.
        return ElementTree.fromstring(content)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    except ElementTree.ParseError as error:
        raise DataError(f"{path}: not valid XML: {error}") from None
    except (LookupError, ValueError):
        return ElementTree.fromstring(decoded(content, path))


def read_voc(source: Path, files: list[Path], images: Path) -> Labels:
    """The labels of XML `files`, whose images are below `images`, with the file's name or the one that it gives."""
    found = Labels(source, images)
    by_name = _by_name(images)
    for path in files:
        root = parse(path)
        if root.tag != "annotation":
            raise DataError(f"{path}: expected VOC's <annotation>, got <{root.tag}>")
        named = Path((root.findtext("filename") or "").replace("\\", "/")).name
        name = by_name.get(named) or by_name.get(path.stem) or named or f"{path.stem}.jpg"
        first = 1 if (root.findtext("source/database") or "").strip().startswith("The VOC") else 0
        objects = root.findall("object")
        found.add(name, _size(root, path), [_box(each, first, path) for each in objects])
    return found


def _by_name(images: Path) -> dict[str, str]:
    """File name, and its stem, of each image -> its path from `images`."""
    names: dict[str, str] = {}
    for name in image_files(images):
        names.setdefault(Path(name).name, name)
        names.setdefault(Path(name).stem, name)
    return names


def _size(root: ElementTree.Element, path: Path) -> Size | None:
    """The size that the file gives; None where it gives none, or zeros as some programs do."""
    height, width = root.findtext("size/height"), root.findtext("size/width")
    if height is None or width is None:
        return None
    size = round(_number(height, path)), round(_number(width, path))
    return size if min(size) > 0 else None


def _box(element: ElementTree.Element, first: int, path: Path) -> Box:
    name, box = (element.findtext("name") or "").strip(), element.find("bndbox")
    if not name or box is None:
        raise DataError(f"{path}: expected objects with <name> and <bndbox>, got one without")
    x1, y1, x2, y2 = (
        _number(box.findtext(corner), path) for corner in ("xmin", "ymin", "xmax", "ymax")
    )
    difficult = (element.findtext("difficult") or "0").strip() == "1"
    return Box(name, (x1 - first, y1 - first, x2, y2), difficult)


def _number(text: str | None, path: Path) -> float:
    try:
        return float(text or "")
    except ValueError:
        raise DataError(f"{path}: expected a number, got {text!r}") from None
