"""What the commands share: how they end, and the options that several of them have."""

import argparse
import sys
from collections.abc import Callable, Sequence

import torch

from model.errors import Refused

REFUSED = 2
# 128 and the number of SIGINT, as a shell has it.
INTERRUPTED = 130


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
        interrupted: the line for an interruption (status 130).
    """
    options = parser.parse_args(arguments)
    try:
        return work(options) or 0
    except (Refused, OSError) as error:
        print(f"{parser.prog}: {reason(error)}", file=sys.stderr)
        return REFUSED
    except KeyboardInterrupt:
        print(f"{parser.prog}: {interrupted}", file=sys.stderr)
        return INTERRUPTED


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


def _device(text: str) -> str:
    if text not in {"cpu", "cuda"}:
        raise argparse.ArgumentTypeError(f"expected cpu or cuda, got {text!r}")
    if text == "cuda" and not torch.cuda.is_available():
        raise argparse.ArgumentTypeError("torch finds no CUDA device here; use cpu")
    return text
