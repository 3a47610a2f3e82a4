"""One run of `fpn-detect`: which sources are left, and where each outcome goes."""

import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Self, cast, get_args

from tqdm import tqdm

from service.errors import InvalidRequest
from service.offline.answers import Asked, ServedModel
from service.offline.folder import FileFormat, RunFolder
from service.offline.ids import Ids
from service.offline.outcome import Outcome
from service.offline.sources import Found, Source, is_countable, sources_of
from service.offline.texts import TextFormat, text_of


@dataclass(frozen=True)
class Wishes:
    """What a run is to leave behind.

    Attributes:
        model, asked: who answers, and what it is asked.
        title: of the table.
        files: to look at; a list where their number is known.
        every: so many-th frame of a video.
        formats: of standard output one, of a folder any.
        out: the folder; None for standard output.
        is_resumed: whether the folder may hold a part of the run.
        ids: of the photographs.
        has_bar: whether progress is shown, where standard error is a terminal.
    """

    model: ServedModel
    asked: Asked
    title: str
    files: Iterable[Found]
    every: int
    formats: tuple[str, ...]
    out: Path | None
    is_resumed: bool
    ids: Ids
    has_bar: bool


class Run:
    """Takes outcomes in the order of the sources, and says in the end how many were bad."""

    def __init__(self, program: str, wishes: Wishes, max_pixels: int) -> None:
        """Raises InvalidRequest when the wishes do not go together."""
        check_formats(wishes)
        self._program = program
        self._wishes = wishes
        self._max_pixels = max_pixels
        self._began = perf_counter()
        self._seen: list[Source] = []
        self._bad = 0
        self._folder: RunFolder | None = None
        if wishes.out is not None:
            asked = {key: value for key, value in asdict(wishes.asked).items() if key != "priority"}
            # As JSON gives it back.
            asked = {k: list(v) if isinstance(v, tuple) else v for k, v in asked.items()}
            self._folder = RunFolder(wishes.out, wishes.model, asked, wishes.is_resumed)
        kind = cast(TextFormat, (wishes.formats or ("table",))[0])
        self._text = None if self._folder else text_of(kind, wishes.model, wishes.title, wishes.ids)
        self._bar = tqdm(
            total=_total(wishes.files),
            unit="image",
            disable=None if wishes.has_bar else True,
            file=sys.stderr,
        )
        if self._text:
            self._print(self._text.begin())

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Leaves the folder as it is."""
        self._bar.close()
        if self._folder:
            self._folder.close()

    def left(self) -> Iterator[Source]:
        """The sources that have no outcome yet."""
        for source in sources_of(self._wishes.files, self._wishes.every):
            # Of a frame the pixels are not needed again.
            self._seen.append(replace(source, content=None))
            # Asked for of each, so that a number is the same in a run that goes on.
            self._wishes.ids.of(source.name)
            if self._folder and self._folder.has(source):
                if "drawn" in self._wishes.formats:
                    self._folder.draw(source, None, self._max_pixels)
                self._bar.update()
            else:
                yield source

    def add(self, outcome: Outcome) -> None:
        """Keeps, prints or reports the outcome."""
        if outcome.error is not None:
            self._bad += 1
            self._bar.write(
                f"{self._program}: {outcome.source.name}: {outcome.error}", file=sys.stderr
            )
        if self._folder:
            if "drawn" in self._wishes.formats:
                self._folder.draw(outcome.source, outcome, self._max_pixels)
            self._folder.add(outcome)
        elif self._text:
            number = self._wishes.ids.of(outcome.source.name)
            if number is not None or "coco" not in self._wishes.formats:
                self._print(self._text.of(outcome, number or 0))
        self._bar.update()

    def finish(self) -> int:
        """How many of the sources were bad, once all else is written."""
        if not self._folder:
            assert self._text is not None
            self._print(self._text.end())
            return self._bad
        kinds = [cast(FileFormat, kind) for kind in self._wishes.formats if kind != "jsonl"]
        bad = len(self._folder.finish(kinds, self._seen, self._wishes.ids))
        self._say_what_has_no_number()
        before = f", {self._folder.answered} of them before" if self._folder.answered else ""
        seconds = perf_counter() - self._began
        self._bar.write(
            f"{self._program}: {len(self._seen) - bad} answered, {bad} bad{before}; {seconds:.1f} s",
            file=sys.stderr,
        )
        return bad

    def _say_what_has_no_number(self) -> None:
        without = sum(self._wishes.ids.of(source.name) is None for source in self._seen)
        if without and "coco" in self._wishes.formats:
            said = f"the COCO json of --ids has no image for {without} of {len(self._seen)}: not in results.json"
            self._bar.write(f"{self._program}: {said}", file=sys.stderr)

    def _print(self, text: str) -> None:
        with self._bar.external_write_mode(file=sys.stdout):
            sys.stdout.write(text)
            sys.stdout.flush()


def check_formats(wishes: Wishes) -> None:
    """Raises InvalidRequest when the formats do not fit where they are to go."""
    if wishes.out is None:
        if wishes.is_resumed:
            raise InvalidRequest("--resume: expected the --out of the run that is gone on with")
        wrong = [kind for kind in wishes.formats if kind not in get_args(TextFormat)]
        if wrong:
            raise InvalidRequest(f"--format {wrong[0]}: expected --out FOLDER, where files may be")
        if len(wishes.formats) > 1:
            raise InvalidRequest(
                f"--format: expected one on standard output, got {', '.join(wishes.formats)}; or --out FOLDER"
            )
    elif "table" in wishes.formats:
        raise InvalidRequest("--format table: expected no --out, since it is for people to read")


def _total(files: Iterable[Found]) -> int | None:
    """How many sources there will be, where that is known before."""
    is_known = isinstance(files, list) and all(map(is_countable, files))
    return len({each.path for each in files}) if is_known else None
