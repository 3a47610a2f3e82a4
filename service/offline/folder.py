"""The folder that a run leaves behind, and goes on with after an interruption.

run.json            the model and the query, which a run that is resumed must have again
detections.jsonl    a line for each photograph, in order, written when it is answered: this is what is resumed
bad.tsv             the photographs that could not be answered, and why
drawn/              pictures with their detections, each written before its line
results.json, labels/, detections.csv, labelstudio.json
made of the lines at the end, so they are whole whatever happened before
"""

import fcntl
import json
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from service.errors import InvalidRequest, ServiceError
from service.formats import yolo_lines
from service.offline.answers import ServedModel
from service.offline.ids import Ids
from service.offline.outcome import Outcome, outcome_of
from service.offline.sources import Source
from service.offline.texts import TextFormat, text_of
from service.pictures.drawing import Mark, drawn_picture

FileFormat = Literal["csv", "coco", "labelstudio", "yolo", "drawn"]
FILES: dict[FileFormat, tuple[TextFormat, str]] = {
    "csv": ("csv", "detections.csv"),
    "coco": ("coco", "results.json"),
    "labelstudio": ("labelstudio", "labelstudio.json"),
}


class RunFolder:
    """Where the outcomes of a run are kept.

    Attributes:
        answered: how many photographs an earlier run has answered, or found to be bad.
    """

    def __init__(
        self, path: Path, model: ServedModel, asked: dict[str, Any], is_resumed: bool
    ) -> None:
        """Takes the folder for this process.

        Raises:
            InvalidRequest: it holds another run, or this one and it is not resumed, or another process has it.
        """
        self._path = path
        self._model = model
        path.mkdir(parents=True, exist_ok=True)
        self._lines = (path / "detections.jsonl").open("a+b")
        try:
            self._take({"model": [model.name, model.version], "asked": asked}, is_resumed)
        except InvalidRequest:
            self.close()
            raise
        # Of each photograph, where its line begins.
        self._places = {line["file"]: place for place, line in self._read()}
        self.answered = len(self._places)

    def has(self, source: Source) -> bool:
        """Whether the source has its line."""
        return source.name in self._places

    def add(self, outcome: Outcome) -> None:
        """Keeps the outcome."""
        self._places[outcome.source.name] = self._lines.tell()
        line = json.dumps(outcome.as_line(), ensure_ascii=False)
        self._lines.write(line.encode() + b"\n")
        self._lines.flush()

    def draw(self, source: Source, outcome: Outcome | None, max_pixels: int) -> None:
        """Draws what was found in the source, by its line if not by `outcome`, unless the picture is there."""
        path = self._path / "drawn" / PurePosixPath(source.place).with_suffix(".jpg")
        if path.exists():
            return
        found = (outcome or self._outcome(source)).detected
        if found is None:
            return
        marks = [
            Mark(each.box, f"{each.label} {each.score:.2f}", self._model.classes.index(each.label))
            for each in found.detections
        ]
        try:
            picture = drawn_picture(source.load(), marks, "image/jpeg", max_pixels)
        except (ServiceError, OSError, ValueError):
            return  # the server reads more than this machine's Pillow
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".unfinished")
        unfinished.write_bytes(picture)
        unfinished.replace(path)

    def finish(
        self, formats: Sequence[FileFormat], sources: Sequence[Source], ids: Ids
    ) -> list[Outcome]:
        """Writes the files of these formats, of the lines of `sources`; the outcomes that are bad."""
        for kind in formats:
            if kind == "yolo":
                self._write_labels(sources)
            elif kind != "drawn":
                self._write_text(kind, sources, ids)
        if "coco" in formats:
            self._write_images(sources, ids)
        bad = [each for each in map(self._outcome, sources) if each.detected is None]
        (self._path / "bad.tsv").write_text(
            "".join(f"{each.source.name}\t{each.error}\n" for each in bad), encoding="utf-8"
        )
        return bad

    def close(self) -> None:
        """Lets go of the folder."""
        self._lines.close()

    def _take(self, about: dict[str, Any], is_resumed: bool) -> None:
        try:
            fcntl.flock(self._lines, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise InvalidRequest(f"--out: {self._path}: another process writes there") from error
        self._lines.seek(0, 2)
        is_begun, path = self._lines.tell() > 0, self._path / "run.json"
        if is_begun and not is_resumed:
            raise InvalidRequest(
                f"--out: {self._path} holds the detections of a run: add --resume to go on with it, or choose another"
            )
        if is_begun and path.exists() and json.loads(path.read_text("utf-8")) != about:
            raise InvalidRequest(
                f"--resume: {path} names another model, or another query: expected {json.dumps(about)}"
            )
        path.write_text(json.dumps(about) + "\n", encoding="utf-8")

    def _read(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Where each line begins, and what it says; what was cut off by an interruption is dropped."""
        self._lines.seek(0)
        begin = 0
        for line in self._lines:
            if not line.endswith(b"\n"):
                break
            yield begin, json.loads(line)
            begin += len(line)
        self._lines.truncate(begin)
        self._lines.seek(begin)

    def _outcome(self, source: Source) -> Outcome:
        end = self._lines.tell()
        self._lines.seek(self._places[source.name])
        line = json.loads(self._lines.readline())
        self._lines.seek(end)
        return outcome_of(line, source)

    def _write_text(self, kind: FileFormat, sources: Sequence[Source], ids: Ids) -> None:
        text, name = text_of(FILES[kind][0], self._model, "", ids), FILES[kind][1]
        with (self._path / name).open("w", encoding="utf-8") as file:
            file.write(text.begin())
            for source in sources:
                number = ids.of(source.name)
                if kind != "coco" or number is not None:
                    file.write(text.of(self._outcome(source), number or 0))
            file.write(text.end())

    def _write_images(self, sources: Sequence[Source], ids: Ids) -> None:
        """Which photograph each number of results.json is, as a COCO json says it."""
        known = ids.categories or dict(
            zip(self._model.classes, self._model.category_ids, strict=True)
        )
        categories = [{"id": number, "name": name} for name, number in known.items()]
        images = [
            {
                "id": number,
                "file_name": source.place,
                "width": found.width,
                "height": found.height,
            }
            for source in sources
            if (number := ids.of(source.name)) is not None
            and (found := self._outcome(source).detected) is not None
        ]
        described = {"images": images, "annotations": [], "categories": categories}
        (self._path / "images.json").write_text(json.dumps(described) + "\n", encoding="utf-8")

    def _write_labels(self, sources: Sequence[Source]) -> None:
        folder = self._path / "labels"
        folder.mkdir(exist_ok=True)
        names = "".join(f"{name}\n" for name in self._model.classes)
        (self._path / "classes.txt").write_text(names, encoding="utf-8")
        for source in sources:
            found = self._outcome(source).detected
            if found is not None:
                path = folder / PurePosixPath(source.place).with_suffix(".txt")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(yolo_lines(found, self._model.classes), encoding="utf-8")
