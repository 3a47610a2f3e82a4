"""Runs of one model from several threads at once, each with a session that has as many threads of its own as it wants.

A session may be run by several threads; its memory for frames may not. So every run that goes on has a runner, which
is that memory: made when one more is needed, and used again.

Dimensions: N images of a batch, H x W of its frame.
"""

from collections.abc import Callable, Mapping, Set

from service.artifact.tensors import Outputs
from service.engine.buffers import Block, Buffers, Frames, Regions, Sizes
from service.engine.runtime import ort


class Runners:
    """The sessions of one model by their number of threads, and the runners of each that are free."""

    def __init__(
        self,
        sessions: Mapping[int, ort.InferenceSession],
        page_lock: Callable[[Block], object] | None = None,
    ) -> None:
        """`page_lock` is called with the memory of every runner."""
        self._sessions = dict(sessions)
        self._page_lock = page_lock
        self._free: dict[int, list[Buffers]] = {threads: [] for threads in sessions}

    def run(self, threads: int, frames: Frames, sizes: Sizes, regions: Regions) -> Outputs:
        """The outputs for N frames uint8 [3, H, W] of one size, from the session of `threads`."""
        runner = self._take(threads)
        try:
            _, height, width = frames[0].shape
            return runner.binding(len(frames), (height, width)).run(frames, sizes, regions)
        finally:
            self._free[threads].append(runner)

    def keep(self, threads: Set[int]) -> None:
        """Lets go of the sessions with other numbers of threads; nothing may run in them, now or later."""
        for other in self._sessions.keys() - threads:
            del self._sessions[other], self._free[other]

    def _take(self, threads: int) -> Buffers:
        try:
            # One operation of the interpreter: no two threads get the same.
            return self._free[threads].pop()
        except IndexError:
            return Buffers(self._sessions[threads], self._page_lock)
