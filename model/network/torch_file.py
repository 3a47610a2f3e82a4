"""Files of `torch.save`: written whole, and read without running code from them."""

import io
import os
import pickle
import re
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import torch

from model.errors import Refused
from model.network.stand_ins import STAND_INS, finished

# What the restricted reader raises on files that are damaged, hold code, or are something else.
_UNFIT = (
    RuntimeError,
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    AssertionError,
    OverflowError,
    MemoryError,
    struct.error,
    pickle.UnpicklingError,
)


# As torch wants them: what is called, and the name that it is called by.
_ALLOWED: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
    (stand_in, name) for name, stand_in in STAND_INS.items()
]


class UnreadableFile(Refused):
    """A file without plain values and tensors of torch's; the message, one line, says what came instead."""


class UnwritableFile(Refused):
    """A file that could not be written; the message, one line, says why."""


def read_torch_file(path: Path) -> object:
    """The plain values, tensors and NumPy arrays of `path`, on the CPU.

    Raises:
        UnreadableFile: there is no such file, it is damaged, or reading it would run code.
    """
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(_ALLOWED):
            # of damaged files, that they might be in a new format
            warnings.simplefilter("ignore")
            content: object = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise UnreadableFile(error.strerror or str(error)) from None
    except _UNFIT as error:
        raise UnreadableFile(_reason(error)) from None
    return finished(content)


def _reason(error: Exception) -> str:
    """What was wrong; torch's own text counsels to read the file in a way that would run its code."""
    if named := re.search(r"Unsupported global: GLOBAL (\S+)|unsupported GLOBAL (\S+)", str(error)):
        return f"a file that names {named[1] or named[2]}, which is not called"
    return f"something else, or a damaged file ({type(error).__name__} in reading it as tensors)"


def write_torch_file(path: Path, content: object, *, deflated: bool = False) -> None:
    """Write plain values and tensors to `path`, at once or not at all.

    A torch file is a zip archive, whose members torch does not compress and reads either way: `deflated` weights of
    float16 take a tenth less, and a second or two more to write.

    Raises:
        UnwritableFile: they cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.partial")
    try:
        with temporary.open("wb") as file:
            if deflated:
                _save_deflated(content, file)
            else:
                torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except (RuntimeError, OSError) as error:
        # torch's writer makes a RuntimeError of a full disk
        why = error.strerror if isinstance(error, OSError) else _first_line(error)
        there = "; the one that is there is as it was" if path.exists() else ""
        raise UnwritableFile(f"{path}: could not be written: {why}{there}") from error
    finally:
        temporary.unlink(missing_ok=True)


def _save_deflated(content: object, file: BinaryIO) -> None:
    plain = io.BytesIO()
    torch.save(content, plain)
    with zipfile.ZipFile(plain) as members, zipfile.ZipFile(file, "w") as archive:
        for name in members.namelist():
            # Without the time of writing: the same weights make the same file.
            archive.writestr(zipfile.ZipInfo(name), members.read(name), zipfile.ZIP_DEFLATED, 9)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
