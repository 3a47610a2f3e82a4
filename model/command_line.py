"""What the commands share: one line for what was refused, and the exit status."""

import sys
from collections.abc import Callable

from model.errors import Refused

REFUSED = 2
INTERRUPTED = 130  # 128 and the number of SIGINT, as a shell has it


def exit_status(program: str, work: Callable[[], object]) -> int:
    """0 when `work` came to its end, `REFUSED` after one line on standard error that says what was wrong."""
    try:
        work()
    except (Refused, OSError) as error:
        print(f"{program}: {reason(error)}", file=sys.stderr)
        return REFUSED
    return 0


def reason(error: Exception) -> str:
    """What was wrong, in one line, also of an error that a loading process passed on.

    torch's DataLoader puts the worker's traceback before the message; its last line is ours.
    """
    kind = type(error)
    lines = str(error).strip().splitlines() or [kind.__name__]
    return lines[-1].removeprefix(f"{kind.__module__}.{kind.__name__}: ")
