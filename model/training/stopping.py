"""When a run ends before its last step: at a signal, after a time, or when it gets no better.

A step is never cut in two: a signal that comes in it waits for its end. Between steps, in an evaluation say, it acts at
once. Several processes stop together, after the same step: each asks the others at its end, so there a signal always
waits for one.
"""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, NoReturn, Self

from model.errors import Stopped
from model.training.processes import Processes

SIGNALS = (signal.SIGINT, signal.SIGTERM)
# What the processes tell each other, the largest wins; a signal is its own number and more than these.
_GO_ON, _ENOUGH = 0, 1


class Stopping:
    """Whether a run is to stop; a context manager that hears the signals of `SIGNALS`.

    Args:
        processes: that stop together.
        limit_s: seconds of the run, from now; 0 is no limit.

    Attributes:
        broken: something that was to be done whole was not.
    """

    def __init__(self, processes: Processes, limit_s: float = 0.0) -> None:
        self._processes = processes
        self._deadline = time.monotonic() + limit_s if limit_s else None
        self._signal = 0
        self._alone = processes.count == 1
        self._whole = self._told = self.broken = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        """Hears signals from here on; only the main thread can."""
        if threading.current_thread() is threading.main_thread():
            self._before = {each: signal.signal(each, self._hear) for each in SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        """Leave the signals to whom they were before."""
        for each, handler in self._before.items():
            signal.signal(each, handler)

    @contextmanager
    def whole(self) -> Iterator[None]:
        """What is in it is done whole: a first signal waits for its end, a second one does not."""
        self._whole = True
        try:
            yield
        except BaseException:
            self.broken = True
            raise
        finally:
            self._whole = False
        # What is saved on the way out is not stopped once more.
        if self._signal and self._alone and not self._told:
            self._tell(self._signal)

    @property
    def late(self) -> bool:
        """Whether its time is over."""
        return self._deadline is not None and time.monotonic() >= self._deadline

    def asked(self, enough: bool) -> bool:
        """Whether all processes stop here, where `enough` says that this one has enough.

        Raises:
            Stopped: one of them was sent a signal.
        """
        reason = self._processes.largest(self._signal or (_ENOUGH if enough else _GO_ON))
        if reason > _ENOUGH:
            self._tell(reason)
        return reason == _ENOUGH

    def _hear(self, number: int, _: FrameType | None) -> None:
        again, self._signal = self._signal, number
        if again or (self._alone and not self._whole):
            self._tell(number)

    def _tell(self, number: int) -> NoReturn:
        self._told = True
        raise Stopped(number)
