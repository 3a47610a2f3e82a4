"""Pickles of NumPy arrays, read without running code from them.

A pickle names functions and has them called. Here it may name the few of `STAND_INS`, and none of those runs.
Python 2's strings are latin-1, as Detectron2 reads its zoo.
"""

import pickle
from pathlib import Path
from typing import Any

from model.network.stand_ins import STAND_INS, finished
from model.network.torch_file import UnreadableFile

# What damaged and hostile pickles raise.
_UNFIT = (
    pickle.UnpicklingError,
    EOFError,
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    MemoryError,
    OverflowError,
    RecursionError,
)


def read_arrays(path: Path) -> object:
    """The plain values and arrays that `path` holds.

    Raises:
        UnreadableFile: there is no such file, it is damaged, or it names something else than arrays.
    """
    try:
        with path.open("rb") as file:
            content = _Unpickler(file, encoding="latin1").load()
    except OSError as error:
        raise UnreadableFile(error.strerror or str(error)) from None
    except _UNFIT as error:
        raise UnreadableFile(f"no pickle of arrays, or a damaged one ({error})") from None
    return finished(content)


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        full_name = f"{module}.{name}"
        if full_name not in STAND_INS:
            raise pickle.UnpicklingError(f"it names {full_name}, which is not called")
        return STAND_INS[full_name]
