"""What became of a source: what was found in it, or why nothing could be."""

from dataclasses import asdict, dataclass, field
from typing import Any

from service.detections import Detected
from service.offline.answers import detected_of
from service.offline.sources import Source

Seconds = dict[str, float]


@dataclass(frozen=True)
class Outcome:
    """One of `detected` and `error` is there; `seconds` of each stage where they were taken."""

    source: Source
    detected: Detected | None = None
    error: str | None = None
    seconds: Seconds = field(default_factory=dict)

    def as_line(self) -> dict[str, Any]:
        """Fit for JSON: what /detect has in `images`, with the file's name before it."""
        if self.detected is None:
            return {"file": self.source.name, "error": self.error}
        found = {key: value for key, value in asdict(self.detected).items() if value}
        found.setdefault("detections", [])
        seconds = {stage: round(each, 6) for stage, each in self.seconds.items()}
        return {"file": self.source.name, **found, **({"seconds": seconds} if seconds else {})}


def outcome_of(line: dict[str, Any], source: Source) -> Outcome:
    """The outcome that `line` is of."""
    if "error" in line:
        return Outcome(source, error=line["error"])
    return Outcome(source, detected_of(line))
