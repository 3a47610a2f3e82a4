"""What was wrong with a data set's pictures and boxes, and how it is told."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from model.data.annotations import some

# How many offenders a line of the report names before it only counts them.
_NAMED = 3


class Fault(StrEnum):
    """What is wrong with one picture or one box, and what became of it."""

    MISSING = "pictures missing (skipped)"
    UNREADABLE = "pictures unreadable (skipped)"
    NO_AREA = "boxes without area or not finite (skipped)"
    OUTSIDE = "boxes outside their picture (skipped)"
    CLIPPED = "boxes partly outside their picture (clipped)"


@dataclass(frozen=True)
class Report:
    """What a data set holds, and what was wrong with it: fault -> the names of all offenders."""

    images: int
    images_without_boxes: int
    boxes: int
    crowd_boxes: int
    faults: Mapping[Fault, Sequence[str]]

    def __str__(self) -> str:
        """Return a line of counts, and one for each kind of fault."""
        counts = (
            f"{self.images} images ({self.images_without_boxes} without boxes), "
            f"{self.boxes} boxes, {self.crowd_boxes} crowd boxes"
        )
        return "\n".join([counts, *self.fault_lines()])

    def fault_lines(self) -> list[str]:
        """Return a line for each kind of fault: how many, and the first few."""
        return [f"{fault}: {some(names, _NAMED)}" for fault, names in self.faults.items()]
