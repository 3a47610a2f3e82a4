"""What was measured, kept in a JSON file to which later runs add their rounds."""

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median

from model.command_line import write_output

Values = dict[str, float]


@dataclass(frozen=True)
class Record:
    """What one server of one model did in one cell of one round; `values` are named with their units."""

    model: str
    server: str
    round: int
    cell: str
    values: Values


@dataclass
class Results:
    """All of it.

    Attributes:
        conditions: under which: the CPU, the photographs, versions, seconds of a cell.
        peaks: model -> the images a second that the open loops' rates are parts of.
        records: in the order they were measured.
        failures: model -> server -> why there are no figures, or none to trust.
    """

    conditions: dict[str, str] = field(default_factory=dict)
    peaks: dict[str, float] = field(default_factory=dict)
    records: list[Record] = field(default_factory=list)
    failures: dict[str, dict[str, str]] = field(default_factory=dict)

    def next_round(self, model: str) -> int:
        """The number of the round to come."""
        return 1 + max((each.round for each in self.records if each.model == model), default=0)

    def by_round(self, model: str, server: str, cell: str, value: str) -> dict[int, float]:
        """Round -> the value."""
        return {
            each.round: each.values[value]
            for each in self.records
            if (each.model, each.server, each.cell) == (model, server, cell)
            and value in each.values
        }

    def middle(self, model: str, server: str, cell: str, value: str) -> float | None:
        """The median over the rounds; None where there are none."""
        values = self.by_round(model, server, cell, value).values()
        return median(values) if values else None

    def ratio(self, model: str, server: str, to: str, cell: str, value: str) -> float | None:
        """The median over rounds of the server's value by the other's; None without any in which both have one."""
        one, other = (self.by_round(model, each, cell, value) for each in (server, to))
        ratios = [one[each] / other[each] for each in one if 0 < other.get(each, 0) < math.inf]
        return median(ratios) if ratios else None

    def servers(self, model: str) -> list[str]:
        """Their names, in the order they came."""
        names = [each.server for each in self.records if each.model == model]
        return list(dict.fromkeys([*names, *self.failures.get(model, {})]))

    def models(self) -> list[str]:
        """The names of the files."""
        return list(dict.fromkeys([*(each.model for each in self.records), *self.failures]))

    def write(self, path: Path) -> None:
        """Write it to `path`. What took infinitely long is null there."""
        kept = asdict(self)
        for record in kept["records"]:
            record["values"] = dict(_finite(record["values"].items()))
        write_output(path, json.dumps(kept, indent=1) + "\n")

    @classmethod
    def read(cls, path: Path) -> "Results":
        """What `write` wrote; nothing where there is no file."""
        if not path.exists():
            return cls()
        kept = json.loads(path.read_text())
        records = [
            Record(**{**each, "values": {k: _known(v) for k, v in each["values"].items()}})
            for each in kept.pop("records")
        ]
        return cls(**kept, records=records)


def _finite(values: Iterable[tuple[str, float]]) -> Iterable[tuple[str, float | None]]:
    return ((name, value if math.isfinite(value) else None) for name, value in values)


def _known(value: float | None) -> float:
    return math.inf if value is None else value
