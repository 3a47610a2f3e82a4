"""What is refused in a data set, what is skipped and counted in it, and how either is told."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from model.errors import Refused

# How many offenders an error or a line of the inventory names before it only counts them.
_NAMED_IN_ERROR, _NAMED_IN_INVENTORY = 10, 3


class DataError(Refused):
    """A data set that cannot be trusted, or an image of it that cannot be decoded."""


class Fault(StrEnum):
    """What is wrong with one image or one box, and what became of it."""

    MISSING = "images missing (skipped)"
    UNREADABLE = "images unreadable (skipped)"
    NO_AREA = "boxes without area or not finite (skipped)"
    OUTSIDE = "boxes outside their image (skipped)"
    CLIPPED = "boxes partly outside their image (clipped)"


@dataclass(frozen=True)
class Inventory:
    """What a data set holds, and what was wrong with it: fault -> the names of all offenders."""

    images: int
    images_without_boxes: int
    boxes: int
    crowd_boxes: int
    faults: Mapping[Fault, Sequence[str]]

    def __str__(self) -> str:
        """A line of counts, and one for each kind of fault."""
        counts = (
            f"{self.images} images ({self.images_without_boxes} without boxes), "
            f"{self.boxes} boxes, {self.crowd_boxes} crowd boxes"
        )
        return "\n".join([counts, *self.fault_lines()])

    def fault_lines(self) -> list[str]:
        """A line for each kind of fault: how many, and the first few."""
        return [
            f"{fault}: {some(names, _NAMED_IN_INVENTORY)}" for fault, names in self.faults.items()
        ]


def offended(what: str, offenders: Sequence[str]) -> str:
    """The line of an error: `what` was wrong, how many offend, and the first of them."""
    return f"{what}: {some(offenders, _NAMED_IN_ERROR)}"


def refuse(what: str, offenders: Sequence[str]) -> None:
    """Raises a DataError that counts and names the offenders, if there are any."""
    if offenders:
        raise DataError(offended(what, offenders))


def some(names: Sequence[str], limit: int = _NAMED_IN_ERROR) -> str:
    """The count and the first names, as `12: a, b, c, ...`."""
    return f"{len(names)}: {', '.join(names[:limit])}{', ...' if len(names) > limit else ''}"
