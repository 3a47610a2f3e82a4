"""The server as a process of its own, as an operator starts it."""

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from tests.places import ROOT

TIME_LIMIT_S = 120.0


class ServerProcess:
    """A running server, in an environment like ours or in `inherited`, with `variables` on top.

    `log` grows with what it writes to standard error.
    """

    def __init__(self, inherited: Mapping[str, str] = os.environ, /, **variables: str) -> None:
        environment = {k: v for k, v in inherited.items() if not k.startswith("FPN_")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "service"],
            cwd=ROOT,
            env={**environment, "FPN_HOST": "127.0.0.1", "FPN_PORT": "0", **variables},
            stderr=subprocess.PIPE,
            text=True,
        )
        self.log: list[str] = []
        self._grown = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._grown:
                self.log.append(line.rstrip("\n"))
                self._grown.notify_all()
        with self._grown:
            self._grown.notify_all()

    def line_with(self, text: str) -> str:
        """The first line of the log that holds `text`, once it is there."""

        def there() -> bool:
            return any(text in line for line in self.log) or self.process.poll() is not None

        with self._grown:
            assert self._grown.wait_for(there, TIME_LIMIT_S), self.log
        return next(line for line in self.log if text in line)

    def port(self) -> int:
        """The port that it listens on, once it does."""
        found = re.search(r"address=http://127\.0\.0\.1:(\d+)", self.line_with("event=listening"))
        assert found is not None
        return int(found[1])

    def exit_code(self) -> int:
        """The exit code, once it has ended and its log is whole."""
        code = self.process.wait(TIME_LIMIT_S)
        self._reader.join(TIME_LIMIT_S)
        return code

    def close(self) -> None:
        """Ends it if it still runs."""
        self.process.kill()
        self.exit_code()
        assert self.process.stderr is not None
        self.process.stderr.close()


@contextmanager
def serving(
    inherited: Mapping[str, str] = os.environ, /, **variables: str
) -> Iterator[ServerProcess]:
    """A server process with these variables, ended at the end."""
    server = ServerProcess(inherited, **variables)
    try:
        yield server
    finally:
        server.close()
