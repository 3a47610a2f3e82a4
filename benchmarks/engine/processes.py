"""Contenders as child processes: started, asked, and given up when they take too long."""

import json
import select
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).parents[2]


class ContenderFailed(RuntimeError):
    """A contender that cannot start or answer; one line says why."""


class Child:
    """A `benchmarks.engine.contender` process, ended when the `with` block is left.

    Args:
        kind: one of `contender.MAKERS`.
        model: its file.
        photographs: an .npy file.
        threads: of its runtime.
        limit_s: the longest that any answer may take.

    Raises:
        ContenderFailed: it cannot load its model, or not in time.
    """

    def __init__(
        self, kind: str, model: Path, photographs: Path, threads: int, limit_s: float
    ) -> None:
        self._limit_s = limit_s
        words = (kind, str(model.resolve()), str(photographs), str(threads))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.engine.contender", *words],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            self._answer()
        except ContenderFailed:
            self.__exit__()
            raise

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()

    def ask(self, what: str, **values: int) -> dict[str, Any]:
        """The answer to a request of `benchmarks.engine.contender`.

        Raises:
            ContenderFailed: there is none, or not in time.
        """
        assert self._process.stdin is not None
        try:
            print(json.dumps({"do": what, **values}), file=self._process.stdin, flush=True)
        except BrokenPipeError:
            raise self._ended() from None
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], self._limit_s)
        if not ready:
            raise ContenderFailed(f"no answer within {self._limit_s:g} s")
        line = self._process.stdout.readline()
        if not line:
            raise self._ended()
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _ended(self) -> ContenderFailed:
        return ContenderFailed(f"ended with status {self._process.wait()}; standard error says why")
