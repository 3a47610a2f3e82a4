"""Files that `torch.save` wrote, read without running code from them."""

import pickle
import struct
import warnings
from pathlib import Path

import torch

from model.errors import Refused

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


class UnreadableFile(Refused):
    """A file without plain values and tensors of torch's; the message, one line, says what came instead."""


def read_torch_file(path: Path) -> object:
    """The plain values and tensors of `path`, on the CPU.

    Raises:
        UnreadableFile: there is no such file, it is damaged, or reading it would run code.
    """
    try:
        with warnings.catch_warnings():
            # of damaged files, that they might be in a new format
            warnings.simplefilter("ignore")
            content: object = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise UnreadableFile(error.strerror or str(error)) from None
    except _UNFIT as error:
        # torch's own text counsels to read the file in a way that would run its code.
        kind = type(error).__name__
        raise UnreadableFile(
            f"something else, or a damaged file ({kind} in reading it as tensors)"
        ) from None
    return content
