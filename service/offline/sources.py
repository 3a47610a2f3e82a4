"""What is looked at: files, folders, globs, lists on standard input, and the frames of videos.

Each has a name, by which it is known from one run to the next, and a place: where things that belong to it are laid in
a folder. Of whatever is named twice the first counts.
"""

import glob
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from service.offline.video import HAS_VIDEO, VIDEO_REMEDY, frames_of

IMAGES = frozenset(
    (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif", ".jp2")
)
VIDEOS = frozenset((".mp4", ".mov", ".mkv", ".avi", ".webm", ".m4v", ".mpg", ".mpeg"))


@dataclass(frozen=True)
class Source:
    """A photograph to be looked at, or why it cannot be.

    Attributes:
        name: what reports call it.
        place: a relative path, one for each source.
        path: of its file; None where `content` is there.
        content: of a frame of a video.
        fault: why there is nothing to look at.
    """

    name: str
    place: str
    path: Path | None = None
    content: bytes | None = field(default=None, repr=False)
    fault: str | None = None

    def load(self) -> bytes:
        """The bytes of the photograph. Raises OSError, or ValueError with the fault."""
        if self.fault is not None:
            raise ValueError(self.fault)
        if self.content is not None:
            return self.content
        assert self.path is not None
        data = self.path.read_bytes()
        if not data:
            raise ValueError("the file is empty")
        return data


@dataclass(frozen=True)
class Found:
    """A file, and its path below the folder that was named, or its name."""

    path: Path
    below: PurePosixPath


def sources_of(files: Iterable[Found], every: int = 1) -> Iterator[Source]:
    """The sources of the files, in order; of a video every so many-th frame.

    Nothing is opened but videos and folders: a file that is not there is found when it is loaded.
    """
    names: set[str] = set()
    places: set[str] = set()
    for found in files:
        name = str(found.path)
        if name in names:
            continue
        names.add(name)
        place = _free(found.below, places)
        if found.path.suffix.lower() in VIDEOS:
            yield from _frames(found.path, place, every)
        else:
            yield Source(name, place, found.path)


def files_of(named: Iterable[str]) -> Iterator[Found]:
    """The files that are named, folders and patterns resolved."""
    for name in named:
        path = Path(name)
        if path.is_dir():
            yield from _in_folder(path)
        elif not path.exists() and glob.has_magic(name):
            matches = sorted(glob.glob(name, recursive=True))
            yield from files_of(matches) if matches else [Found(path, PurePosixPath(path.name))]
        else:
            yield Found(path, PurePosixPath(path.name))


def is_countable(found: Found) -> bool:
    """Whether it is one source, rather than as many as a video has frames."""
    return found.path.suffix.lower() not in VIDEOS


def _in_folder(folder: Path) -> Iterator[Found]:
    for path in sorted(folder.rglob("*")):
        below = PurePosixPath(path.relative_to(folder).as_posix())
        is_hidden = any(part.startswith(".") for part in below.parts)
        wanted = IMAGES | VIDEOS if HAS_VIDEO else IMAGES
        if path.suffix.lower() in wanted and not is_hidden and path.is_file():
            yield Found(path, below)


def _frames(path: Path, place: str, every: int) -> Iterator[Source]:
    name = str(path)
    if not HAS_VIDEO:
        yield Source(name, place, fault=VIDEO_REMEDY)
        return
    try:
        for frame in frames_of(path, every):
            yield Source(f"{name}#{frame.number}", f"{place}/{frame.number:06}", None, frame.jpeg)
    except OSError as error:
        yield Source(name, place, fault=f"the video cannot be read: {error.strerror or error}")


def _free(below: PurePosixPath, places: set[str]) -> str:
    """A place that no other has."""
    number, place = 1, str(below)
    while place in places:
        number += 1
        place = str(below.with_name(f"{below.stem}-{number}{below.suffix}"))
    places.add(place)
    return place
