"""A part of the check: what it found, or why it was left out."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from benchmarks.engine.processes import ContenderFailed
from benchmarks.engine.summary import table
from benchmarks.server.serving import NotServing
from model.errors import Refused
from service.errors import ServiceError

State = Literal["ok", "FAILED", "skipped"]
# What a part cannot do on this host costs a line, not the parts behind it.
FAULTS = (ServiceError, Refused, ContenderFailed, NotServing, OSError, RuntimeError)


class Skipped(Exception):
    """A part that this host cannot have; the message says what is missing."""


class Wrong(Exception):
    """A part that found what it must not find; the message says what."""


@dataclass(frozen=True)
class Finding:
    """What a part found.

    Attributes:
        said: one line.
        heads, rows: a table, if there is one.
        figures: the same and more, for the JSON.
    """

    said: str
    heads: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    figures: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Part:
    """A part that was tried."""

    name: str
    state: State
    finding: Finding

    def line(self) -> str:
        """What is printed of it."""
        return f"{self.state:8}{self.name}: {self.finding.said}"

    def section(self) -> str:
        """Its section of the page."""
        text = f"## {self.name}: {self.state}\n\n{self.finding.said}\n"
        if self.finding.rows:
            text += f"\n{table(self.finding.heads, self.finding.rows)}\n"
        return text

    def values(self) -> dict[str, Any]:
        """It, for the JSON."""
        return asdict(self)


def tried(name: str, find: Callable[[], Finding]) -> Part:
    """The part that `find` makes of this host."""
    try:
        return Part(name, "ok", find())
    except Skipped as missing:
        return Part(name, "skipped", Finding(str(missing)))
    except Wrong as wrong:
        return Part(name, "FAILED", Finding(str(wrong)))
    except FAULTS as fault:
        said = str(fault).strip().splitlines() or [type(fault).__name__]
        return Part(name, "FAILED", Finding(said[0]))
