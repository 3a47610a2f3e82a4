"""Pickles of NumPy arrays, read without running code from them.

A pickle names functions and has them called. Here it may name the few that NumPy's own pickles name, and none of those
runs: stand-ins of ours take their arguments, check them and read the array's bytes. Python 2's strings are latin-1, as
Detectron2 reads its zoo.
"""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.network.torch_file import UnreadableFile

# NumPy 2 moved what NumPy 1 called numpy.core.
_MODULES = ("numpy.core.multiarray", "numpy._core.multiarray")
_BUFFERS = ("numpy.core.numeric", "numpy._core.numeric")
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
    return _finished(content)


class _Dtype:
    """Stands for numpy.dtype(name, align, copy): numbers only, whose byte order the state gives."""

    def __init__(self, name: str, align: object = False, copy: object = True) -> None:
        self.dtype = np.dtype(str(name))
        if self.dtype.kind not in "fiub":
            raise pickle.UnpicklingError(f"an array of {name}")

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if state[1] in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(state[1])


class _Array:
    """Stands for numpy.ndarray, which is made empty and then told (version, shape, dtype, is it Fortran's, bytes)."""

    array: NDArray[Any] | None = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, fortran, content = state
        self.fill(content, dtype, shape, "F" if fortran else "C")

    def fill(self, content: Any, dtype: Any, shape: Any, order: Any) -> None:
        if not isinstance(dtype, _Dtype):
            raise pickle.UnpicklingError("an array of unknown type")
        data = content.encode("latin1") if isinstance(content, str) else bytes(content)
        flat = np.frombuffer(data, dtype.dtype)
        self.array = flat.reshape(tuple(shape), order="F" if order == "F" else "C")


def _reconstruct(kind: object, shape: object, code: object) -> _Array:
    if kind is not _Array:
        raise pickle.UnpicklingError("an array that is no numpy.ndarray")
    return _Array()


def _from_buffer(content: object, dtype: object, shape: object, order: object) -> _Array:
    array = _Array()
    array.fill(content, dtype, shape, order)
    return array


def _latin1(text: str, encoding: str) -> bytes:
    """How Python 3 writes bytes into pickles of protocol 2."""
    if encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError(f"text in {encoding}")
    return text.encode("latin1")


def _no_bytes() -> bytes:
    """How it writes none."""
    return b""


_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy", "dtype"): _Dtype,
    ("numpy", "ndarray"): _Array,
    ("_codecs", "encode"): _latin1,
    ("__builtin__", "bytes"): _no_bytes,
    **{(module, "_reconstruct"): _reconstruct for module in _MODULES},
    **{(module, "_frombuffer"): _from_buffer for module in _BUFFERS},
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which is not called")
        return _ALLOWED[module, name]


def _finished(content: object) -> object:
    """`content` with arrays in place of what stood for them."""
    if isinstance(content, dict):
        return {key: _finished(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return type(content)(_finished(value) for value in content)
    return content.array if isinstance(content, _Array) else content
