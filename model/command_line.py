"""What the commands share: how they end, and the options that several of them have."""

import argparse
import re
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryFile

import torch

from model.errors import Refused, Stopped

REFUSED = 2
# To this a shell adds the number of the signal that ended a command.
SIGNALLED = 128
# How torch begins what it says of a process of its DataLoader that was killed.
_WORKER = "DataLoader worker"


def exit_status(
    parser: argparse.ArgumentParser,
    arguments: Sequence[str] | None,
    work: Callable[[argparse.Namespace], int | None],
    *,
    interrupted: str = "interrupted",
) -> int:
    """The exit status of a command: that of `work` (0 for None), or not 0 after one line on standard error.

    Args:
        parser: of the command; its `prog` begins the line.
        arguments: of the command line; None takes the process's.
        work: is given the options; raises `Refused` or OSError (status 2) for what cannot be used.
        interrupted: the line for an interruption (status 130, or what `Stopped` says).
    """
    options = parser.parse_args(arguments)
    try:
        return work(options) or 0
    except (Refused, OSError, argparse.ArgumentTypeError) as error:
        print(f"{parser.prog}: {reason(error)}", file=sys.stderr)
        return REFUSED
    except KeyboardInterrupt as signalled:
        print(f"{parser.prog}: {str(signalled) or interrupted}", file=sys.stderr)
        return SIGNALLED + (signalled.number if isinstance(signalled, Stopped) else signal.SIGINT)
    except (RuntimeError, MemoryError) as error:
        if (line := _machines(error)) is None:
            raise
        print(f"{parser.prog}: {line}", file=sys.stderr)
        return REFUSED


def _machines(error: Exception) -> str | None:
    """What the machine lacked, in one line; None where the error is another one, of ours."""
    said = reason(error)
    if str(error).startswith(_WORKER):
        return f"a process that decodes images was ended, by lack of memory perhaps: {said}"
    if isinstance(error, torch.OutOfMemoryError | MemoryError) or "allocate memory" in said:
        return f"out of memory: {said}"
    return None


def reason(error: Exception) -> str:
    """What was wrong, in one line, also of an error that a loading process passed on.

    torch's DataLoader puts the worker's traceback before the message; its last line is ours.
    """
    kind = type(error)
    lines = str(error).strip().splitlines() or [kind.__name__]
    return lines[-1].removeprefix(f"{kind.__module__}.{kind.__name__}: ")


def add_device(parser: argparse.ArgumentParser) -> None:
    """Adds `--device`, which is refused where torch cannot use it."""
    default = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument(
        "--device",
        type=_device,
        default=default,
        metavar="{cpu,cuda}",
        help=f"where to compute (default here: {default})",
    )


def positive(text: str) -> int:
    """The whole number, 1 or more, that an argument gives."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number, 1 or more, got {text!r}")
    return int(text)


def output_file(text: str) -> Path:
    """The path of a file that an argument names, where one can be written: asked before the work, not after it."""
    path = Path(text)
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"expected a file to write, got the folder {text!r}")
    _try_to_write(path.parent, text)
    return path


def write_output(path: Path, text: str) -> None:
    """Writes a file that `output_file` took, with the folder that it is to lie in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def output_folder(text: str) -> Path:
    """The path of a folder that an argument names, which is there or can be made, and be written to."""
    path = Path(text)
    _try_to_write(path, text)
    return path


def _try_to_write(folder: Path, named: str) -> None:
    there = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    try:
        with TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise argparse.ArgumentTypeError(
            f"{named!r} cannot be written: {there}: {error.strerror}"
        ) from None


def duration(text: str) -> float:
    """The seconds that an argument such as 2h, 90m, 1h30m or 45s gives."""
    found = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", text)
    hours, minutes, seconds = (int(part or 0) for part in (found.groups() if found else (0, 0, 0)))
    total = 3600 * hours + 60 * minutes + seconds
    if not total:
        raise argparse.ArgumentTypeError(f"expected a time such as 2h, 90m or 1h30m, got {text!r}")
    return float(total)


def _device(text: str) -> str:
    if text not in {"cpu", "cuda"}:
        raise argparse.ArgumentTypeError(f"expected cpu or cuda, got {text!r}")
    if text == "cuda" and not torch.cuda.is_available():
        raise argparse.ArgumentTypeError("torch finds no CUDA device here; use cpu")
    return text
