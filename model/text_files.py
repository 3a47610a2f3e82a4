"""Text files of other systems: UTF-8 or UTF-16, with or without a byte order mark.

Windows' editors and PowerShell write the mark, and UTF-16. Text in an 8-bit encoding (latin-1, cp1252 ...) is refused:
its bytes do not say which one it is, and a class would get a wrong name.
"""

import codecs
from pathlib import Path

from model.errors import Refused

_MARKS = {
    codecs.BOM_UTF8: "utf-8",
    # before UTF-16's, which begins alike
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}


class TextError(Refused):
    """A file that is no text that can be read; the message, one line, says why."""


def read_text(path: Path) -> str:
    """The text of `path`, without a byte order mark, every line ended by a newline alone.

    Raises:
        TextError: there is no such file, or its encoding is none of Unicode's.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise TextError(f"{path}: cannot be read: {error.strerror}") from None
    return decoded(content, path).replace("\r\n", "\n")


def decoded(content: bytes, path: Path) -> str:
    """The text that `content`, of the file `path`, stands for; see `read_text`."""
    mark = next((mark for mark in _MARKS if content.startswith(mark)), b"")
    encoding = _MARKS[mark] if mark else _unmarked(content)
    try:
        return content[len(mark) :].decode(encoding)
    except UnicodeDecodeError as error:
        wrong = content[len(mark) + error.start]
        raise TextError(
            f"{path}: expected text in UTF-8, got the byte 0x{wrong:02x} at {error.start}, as in latin-1 or cp1252;"
            f" convert it: iconv -f cp1252 -t utf-8"
        ) from None


def _unmarked(content: bytes) -> str:
    """UTF-16 where every other byte of the beginning is zero, as with letters of latin; else UTF-8."""
    start = content[:64]
    if len(start) >= 4 and 0 in start:
        if not any(start[1::2]):
            return "utf-16-le"
        if not any(start[0::2]):
            return "utf-16-be"
    return "utf-8"
