"""Outcomes as text, one after the other: each format has a beginning, a part for every outcome, and an end.

A photograph that could not be answered has a part in jsonl only; the others have no place for it.
"""

import csv
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from service.formats import coco_results, label_studio_prediction
from service.offline.answers import ServedModel
from service.offline.ids import Ids
from service.offline.outcome import Outcome

TextFormat = Literal["table", "jsonl", "csv", "coco", "labelstudio"]
COLUMNS = ("file", "label", "category_id", "score", "x1", "y1", "x2", "y2", "level")


class Text(Protocol):
    """A format."""

    def begin(self) -> str:
        """What comes first."""

    def of(self, outcome: Outcome, image_id: int) -> str:
        """The part of an outcome; `image_id` is that of its photograph, for coco."""

    def end(self) -> str:
        """What comes last."""


@dataclass(frozen=True)
class Table:
    """For people: the model, then each photograph with what was found in it."""

    title: str

    def begin(self) -> str:
        """The title."""
        return self.title + "\n"

    def of(self, outcome: Outcome, image_id: int) -> str:
        """A paragraph."""
        found = outcome.detected
        if found is None:
            return ""
        lines = [
            f"{outcome.source.name}: {found.width} x {found.height}",
            *(
                f"  {each.score:.4f}  {each.label}  {list(each.box)}  {each.level}"
                for each in found.detections
            ),
        ]
        if outcome.seconds:
            lines.append(
                "  " + "  ".join(f"{stage} {s:.4f} s" for stage, s in outcome.seconds.items())
            )
        return "\n".join(lines) + "\n"

    def end(self) -> str:
        """Nothing."""
        return ""


class Lines:
    """JSON lines: an object for each outcome."""

    def begin(self) -> str:
        """Nothing."""
        return ""

    def of(self, outcome: Outcome, image_id: int) -> str:
        """A line."""
        return json.dumps(outcome.as_line(), ensure_ascii=False) + "\n"

    def end(self) -> str:
        """Nothing."""
        return ""


class Csv:
    """A row for each detection."""

    def begin(self) -> str:
        """The names of the columns."""
        return _row(COLUMNS)

    def of(self, outcome: Outcome, image_id: int) -> str:
        """Rows."""
        found = outcome.detected.detections if outcome.detected else []
        return "".join(
            _row(
                (
                    outcome.source.name,
                    *(each.label, each.category_id, each.score, *each.box, each.level),
                )
            )
            for each in found
        )

    def end(self) -> str:
        """Nothing."""
        return ""


class JsonList:
    """A list of what `entries` makes of each outcome."""

    def __init__(self, entries: Callable[[Outcome, int], list[dict[str, Any]]]) -> None:
        self._entries = entries
        self._before = ""

    def begin(self) -> str:
        """A bracket."""
        self._before = ""
        return "["

    def of(self, outcome: Outcome, image_id: int) -> str:
        """Entries, a line each."""
        parts = []
        for entry in self._entries(outcome, image_id) if outcome.detected else ():
            parts.append(f"{self._before}\n{json.dumps(entry, ensure_ascii=False)}")
            self._before = ","
        return "".join(parts)

    def end(self) -> str:
        """The other bracket."""
        return "\n]\n"


def text_of(kind: TextFormat, model: ServedModel, title: str, ids: Ids) -> Text:
    """The format called so, for the answers of `model`; `ids` are those of classes, for coco."""

    def labelled(outcome: Outcome, _: int) -> list[dict[str, Any]]:
        assert outcome.detected is not None
        predictions = [label_studio_prediction(outcome.detected, model)]
        return [{"data": {"image": outcome.source.name}, "predictions": predictions}]

    def results(outcome: Outcome, image_id: int) -> list[dict[str, Any]]:
        assert outcome.detected is not None
        labels = [each.label for each in outcome.detected.detections]
        return ids.results(coco_results(outcome.detected, image_id), labels)

    texts: dict[TextFormat, Callable[[], Text]] = {
        "table": lambda: Table(title),
        "jsonl": Lines,
        "csv": Csv,
        "coco": lambda: JsonList(results),
        "labelstudio": lambda: JsonList(labelled),
    }
    return texts[kind]()


def _row(values: tuple[object, ...]) -> str:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerow(values)
    return stream.getvalue()
