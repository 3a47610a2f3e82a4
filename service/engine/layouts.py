"""How runs share the cores: one wide run on all of them, or narrow ones side by side.

A run on all cores is soonest done and leaves them idle in between; runs on one core each use them whole, and do more
images together (docs/decisions/0012-wide-and-narrow.md). So a lone photograph runs wide, and a crowd narrow.

    inside      1            2              3 or more
    2 cores     1 x 2        2 x 1          2 x 1              runs x threads
    16 cores    1 x 16       2 x 8          4 x 4, ... 16 x 1

A run that has begun is never interrupted: who comes during a wide one waits for at most that one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True)
class Layout:
    """A way to use the cores.

    Attributes:
        runs: how many go on at once.
        threads: of each; 0 where ONNX Runtime decides.
        batch: the most images of one run.
    """

    runs: int = 1
    threads: int = 0
    batch: int = 1


class Cores:
    """Which runs have which part of the cores. For one thread, the event loop's."""

    def __init__(self, layouts: Sequence[Layout]) -> None:
        self.layouts = tuple(layouts)
        self._taken = Fraction(0)
        self._inside_before = 1

    @property
    def layouts(self) -> tuple[Layout, ...]:
        """The layouts that runs may have, from one wide run to many narrow ones."""
        return self._layouts

    @layouts.setter
    def layouts(self, layouts: tuple[Layout, ...]) -> None:
        self._layouts = tuple(sorted(layouts, key=lambda layout: layout.runs))

    @property
    def most_runs(self) -> int:
        """The most runs that may go on at once."""
        return self._layouts[-1].runs

    @property
    def most_batch(self) -> int:
        """The most images that a run may have."""
        return max(layout.batch for layout in self._layouts)

    def company(self, inside: int) -> int:
        """What an image comes into that finds `inside` there, with itself: as many as the one before it found, too.

        One that finds somebody is chance; two in a row are a crowd, and more of it is on its way.
        """
        self._inside_before, before = inside, self._inside_before
        return min(inside, before)

    def claim(self, company: int) -> Layout | None:
        """The layout of a run that begins now, with `company` images inside; None until a run has ended.

        The widest of which there is one for each of them, or a narrower one that fits beside what runs.
        """
        enough = [each for each in self._layouts if each.runs >= company] or [self._layouts[-1]]
        free = 1 - self._taken
        for layout in enough:
            if Fraction(1, layout.runs) <= free:
                self._taken += Fraction(1, layout.runs)
                return layout
        return None

    def release(self, layout: Layout) -> None:
        """Gives the part of the cores back that a run of `layout` had."""
        self._taken -= Fraction(1, layout.runs)


def layouts_for(cores: int, runners: int, batch: int) -> list[Layout]:
    """The layouts to choose from on `cores` cores: 1, 2, 4 ... runs, and one on each.

    Args:
        cores: for all runs together, 1 or more.
        runners: the runs at once when images wait, if somebody has decided; 0 for all that there may be.
        batch: the most images of a run.
    """
    counts = [1]
    if runners == 0:
        while counts[-1] * 2 <= cores:
            counts.append(counts[-1] * 2)
        counts.append(cores)
    else:
        counts.append(runners)
    return [Layout(runs, max(1, cores // runs), batch) for runs in sorted(set(counts))]
