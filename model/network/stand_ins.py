"""What a pickle of weights may name, and what is called in its place: stand-ins that run nothing of the file's.

Training programs put more into a file than weights: their options (an `argparse.Namespace`), NumPy's arrays and
numbers, paths. A stand-in takes the arguments, checks them and reads the bytes. Whatever is not in `STAND_INS` is
refused by the readers (torch_file.py, and the importers' of plain pickles).
"""

import argparse
import pickle
from typing import Any

import numpy as np
from numpy.typing import NDArray

# NumPy 2 moved what NumPy 1 called numpy.core.
_MODULES = ("numpy.core.multiarray", "numpy._core.multiarray")
_BUFFERS = ("numpy.core.numeric", "numpy._core.numeric")
_PATHS = tuple(
    f"{module}.{kind}Path"
    for module in ("pathlib", "pathlib._local")
    for kind in ("", "Posix", "Windows")
)
_LIGHTNING = (
    "pytorch_lightning.utilities.parsing.AttributeDict",
    "lightning.pytorch.utilities.parsing.AttributeDict",
    "lightning_fabric.utilities.data.AttributeDict",
    "lightning.fabric.utilities.data.AttributeDict",
)


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
        flat = np.frombuffer(_bytes(content), _number(dtype))
        self.array = flat.reshape(tuple(shape), order="F" if order == "F" else "C")


def _number(dtype: object) -> np.dtype[Any]:
    if not isinstance(dtype, _Dtype):
        raise pickle.UnpicklingError("an array of unknown type")
    return dtype.dtype


def _bytes(content: Any) -> bytes:
    return content.encode("latin1") if isinstance(content, str) else bytes(content)


def _reconstruct(kind: object, shape: object, code: object) -> _Array:
    if kind is not _Array:
        raise pickle.UnpicklingError("an array that is no numpy.ndarray")
    return _Array()


def _from_buffer(content: object, dtype: object, shape: object, order: object) -> _Array:
    array = _Array()
    array.fill(content, dtype, shape, order)
    return array


def _scalar(dtype: object, content: object) -> int | float | bool:
    """The Python number that numpy.core.multiarray.scalar(dtype, bytes) is equal to."""
    (number,) = np.frombuffer(_bytes(content), _number(dtype)).tolist()
    return number  # type: ignore[no-any-return]


def _latin1(text: str, encoding: str) -> bytes:
    """How Python 3 writes bytes into pickles of protocol 2."""
    if encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError(f"text in {encoding}")
    return text.encode("latin1")


def _no_bytes() -> bytes:
    """How it writes none."""
    return b""


def _path(*parts: object) -> str:
    return "/".join(str(part) for part in parts)


# Full name -> what is called for it.
STAND_INS: dict[str, Any] = {
    "numpy.dtype": _Dtype,
    "numpy.ndarray": _Array,
    "argparse.Namespace": argparse.Namespace,
    "_codecs.encode": _latin1,
    "__builtin__.bytes": _no_bytes,
    **{f"{module}._reconstruct": _reconstruct for module in _MODULES},
    **{f"{module}.scalar": _scalar for module in _MODULES},
    **{f"{module}._frombuffer": _from_buffer for module in _BUFFERS},
    **dict.fromkeys(_PATHS, _path),
    **dict.fromkeys(_LIGHTNING, dict),
}


def finished(content: object) -> object:
    """`content` with arrays in place of what stood for them."""
    if isinstance(content, list | tuple):
        return type(content)(finished(value) for value in content)
    if isinstance(content, dict):
        return {key: finished(value) for key, value in content.items()}
    return content.array if isinstance(content, _Array) else content
