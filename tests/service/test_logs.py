import json
import logging
import sys

import pytest

from service.logs import JsonFormatter, KeyValueFormatter


def line(message: str, *args: object, **extra: object) -> str:
    record = logging.LogRecord("service.x", logging.INFO, "", 0, message, args, None)
    record.__dict__.update(extra)
    return KeyValueFormatter().format(record)


def test_a_line_has_time_level_logger_event_and_fields() -> None:
    text = line("request", fields={"code": 200, "total_s": 0.5, "path": "/detect"})
    time, rest = text.split(" ", 1)
    assert time.startswith("time=")
    assert time.endswith("Z")
    assert rest == "level=info logger=service.x event=request code=200 total_s=0.5 path=/detect"


@pytest.mark.parametrize(
    "hostile",
    [
        *("a\nlevel=error", 'a "b"', "a=b", "", "\x1b[31m", "a b"),
        # Ends of lines for other readers, a turn of the direction of writing, what is no text.
        *("\u2028", "\u2029", "\x85", "\x7f", "\u202e", "\u200b", "\ud800", "\U000e0001"),
    ],
)
def test_what_comes_from_outside_stays_one_quoted_value(hostile: str) -> None:
    text = line("request", fields={"path": hostile})
    assert text.isprintable()
    assert ' path="' in text


def test_letters_of_any_language_stay_readable() -> None:
    assert line("request", fields={"path": "/größe/日本"}).endswith("path=/größe/日本")


def test_a_traceback_stays_on_the_line() -> None:
    try:
        raise KeyError("cause")
    except KeyError:
        text = line("failed", exc_info=sys.exc_info())
    assert "\n" not in text
    assert "KeyError" in text
    assert text.count("error=") == 1


def test_a_line_of_json_is_one_line_with_the_same_in_it() -> None:
    record = logging.LogRecord("service.x", logging.ERROR, "", 0, "failed", (), None)
    record.fields = {"code": 500, "path": "/a\n\u2028b", "total_s": 0.25}
    try:
        raise KeyError("x")
    except KeyError:
        record.exc_info = sys.exc_info()
    text = JsonFormatter().format(record)
    assert text.isascii()
    assert len(text.splitlines()) == 1
    said = json.loads(text)
    assert (said["event"], said["level"], said["code"], said["total_s"]) == (
        *("failed", "error"),
        *(500, 0.25),
    )
    assert said["path"] == "/a\n\u2028b"
    assert "KeyError" in said["error"]
