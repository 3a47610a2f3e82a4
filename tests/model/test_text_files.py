from pathlib import Path

import pytest

from model.text_files import TextError, read_text

TEXT = "RBC\nZählung\n"


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]
)
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_text_of_every_unicode_encoding_is_read_without_its_mark(
    tmp_path: Path, encoding: str, ending: str
) -> None:
    path = tmp_path / "names.txt"
    path.write_bytes(TEXT.replace("\n", ending).encode(encoding))
    assert read_text(path) == TEXT


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252"])
def test_text_in_8_bits_is_refused_with_the_byte_and_the_remedy(
    tmp_path: Path, encoding: str
) -> None:
    path = tmp_path / "names.txt"
    path.write_bytes(TEXT.encode(encoding))
    with pytest.raises(TextError, match=r"0xe4 at 5, as in latin-1 or cp1252; convert") as caught:
        read_text(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["absent.txt", "."])
def test_what_is_no_file_is_refused_by_its_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(TextError, match="cannot be read: "):
        read_text(tmp_path / name)


def test_an_empty_file_is_empty_text(tmp_path: Path) -> None:
    (tmp_path / "names.txt").touch()
    assert read_text(tmp_path / "names.txt") == ""
