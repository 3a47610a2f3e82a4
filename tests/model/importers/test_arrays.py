import os
import pickle
import subprocess
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model.importers.arrays import read_arrays
from model.network.torch_file import UnreadableFile

ARRAYS: dict[str, Any] = {
    "rows": np.arange(6, dtype=np.float32).reshape(2, 3),
    "columns": np.asfortranarray(np.arange(6, dtype=np.float64).reshape(2, 3)),
    "foreign": np.array([1.5, -2.0], dtype=">f4"),
    "empty": np.zeros((0, 3), dtype=np.float16),
    "one": np.array(7, dtype=np.int64),
}


def written(path: Path, content: object, protocol: int = 4) -> Path:
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    return path


@pytest.mark.parametrize("protocol", range(6))
def test_arrays_come_back_as_they_were_pickled(tmp_path: Path, protocol: int) -> None:
    content = {"model": ARRAYS, "__author__": "someone", "more": [1, (2.5, None)]}
    got = read_arrays(written(tmp_path / "a.pkl", content, protocol))
    assert isinstance(got, dict)
    assert got["model"].keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert np.array_equal(got["model"][name], array)
        assert got["model"][name].dtype == array.dtype
    assert (got["__author__"], got["more"]) == ("someone", [1, (2.5, None)])


def test_numbers_of_numpy_are_numbers(tmp_path: Path) -> None:
    content = {"AP": np.float64(0.25), "epoch": np.int32(-7), "done": np.bool_(True)}
    got = read_arrays(written(tmp_path / "a.pkl", content))
    assert got == {"AP": 0.25, "epoch": -7, "done": True}


def test_python_2s_strings_are_latin_1(tmp_path: Path) -> None:
    # {"b": array([1, 258], uint16)} as Python 2 and NumPy 1 wrote it: the bytes are a string.
    text = (
        b"(dp0\nS'b'\np1\ncnumpy.core.multiarray\n_reconstruct\np2\n(cnumpy\nndarray\np3\n(I0\ntp4\nS'b'\np5\ntp6\nRp7\n"
        b"(I1\n(I2\ntp8\ncnumpy\ndtype\np9\n(S'u2'\np10\nI0\nI1\ntp11\nRp12\n(I3\nS'<'\np13\nNNNI-1\nI-1\nI0\ntp14\nb"
        b"I00\nS'\\x01\\x00\\x02\\x01'\np15\ntp16\nbs."
    )
    (tmp_path / "a.pkl").write_bytes(text)
    got = read_arrays(tmp_path / "a.pkl")
    assert isinstance(got, dict)
    assert got["b"].tolist() == [1, 258]


class Calls:
    """Pickled as a call of `function`."""

    def __init__(self, function: Any, *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


@pytest.mark.parametrize("place", ["whole", "beside", "inside"])
@pytest.mark.parametrize("function", [os.mkdir, subprocess.check_call, eval, np.load])
def test_a_pickle_that_names_anything_else_is_refused_and_not_run(
    tmp_path: Path, function: Any, place: str
) -> None:
    target = tmp_path / "it ran"
    argument = f"__import__('os').mkdir({str(target)!r})" if function is eval else str(target)
    trap = Calls(function, ["mkdir", argument] if function is subprocess.check_call else argument)
    inside = np.empty(1, dtype=object)
    inside[0] = trap
    content = {"whole": trap, "beside": {"model": ARRAYS, "more": trap}, "inside": inside}[place]
    with pytest.raises(UnreadableFile) as caught:
        read_arrays(written(tmp_path / "a.pkl", content))
    assert "\n" not in str(caught.value)
    assert not target.exists()


@pytest.mark.parametrize("content", [OrderedDict(a=1), {1, 2}.__class__, slice(3)])
def test_other_objects_are_refused_by_name(tmp_path: Path, content: object) -> None:
    with pytest.raises(UnreadableFile, match="it names "):
        read_arrays(written(tmp_path / "a.pkl", content))


@pytest.mark.parametrize("array", [np.array([None]), np.array(["text"]), np.zeros(2, "f4,i4")])
def test_arrays_of_anything_but_numbers_are_refused(tmp_path: Path, array: object) -> None:
    with pytest.raises(UnreadableFile, match="an array of"):
        read_arrays(written(tmp_path / "a.pkl", array))


@pytest.mark.parametrize("part", [0.0, 0.3, 0.8, 0.99])
def test_a_truncated_pickle_is_refused(tmp_path: Path, part: float) -> None:
    content = pickle.dumps(ARRAYS)
    (tmp_path / "a.pkl").write_bytes(content[: int(len(content) * part)])
    with pytest.raises(UnreadableFile, match="damaged"):
        read_arrays(tmp_path / "a.pkl")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile, match="No such file"):
        read_arrays(tmp_path / "a.pkl")
