"""Logs: one line per event, `key=value`, in UTC. Whatever came from outside is quoted, never raw.

    time=2026-01-31T12:00:00.000Z level=info logger=service.app event=ready shapes=8

or, as JSON, {"time": "2026-01-31T12:00:00.000Z", "level": "info", "logger": "service.app", "event": "ready", ...}

Fields go in as `log.info("event", extra={"fields": {...}})`.
"""

import json
import logging
import os
import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Literal

LogFormat = Literal["text", "json"]
PLAIN = re.compile(r"[\w./:@%+,*-]+")


class LineFormatter(logging.Formatter):
    """A record as one line; a traceback becomes one value."""

    def pairs(self, record: logging.LogRecord) -> dict[str, object]:
        """What the line says."""
        moment = datetime.fromtimestamp(record.created, UTC)
        pairs: dict[str, object] = {
            "time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
        }
        fields = getattr(record, "fields", None)
        if isinstance(fields, Mapping):
            pairs.update(fields)
        if record.exc_info:
            pairs["error"] = self.formatException(record.exc_info)
        return pairs


class KeyValueFormatter(LineFormatter):
    """Lines of `key=value`; what is not plain is quoted."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        return " ".join(f"{key}={_value(value)}" for key, value in self.pairs(record).items())


class JsonFormatter(LineFormatter):
    """An object in each line, all of it ASCII."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        return json.dumps(self.pairs(record), default=str)


FORMATTERS: dict[LogFormat, type[LineFormatter]] = {
    "text": KeyValueFormatter,
    "json": JsonFormatter,
}


def configure_logs(level: str, form: LogFormat = "text") -> None:
    """Sends the logs of this process, uvicorn's too, to standard error in one form."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(FORMATTERS[form]())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # Its lines say what ours say, except for what goes wrong.
    logging.getLogger("uvicorn").setLevel(logging.WARNING)


def forget_unwritten() -> None:
    """Drops what could not be written of the log (a full disk), for the end of the process.

    Python would try once more and, failing, make the exit status 120 whatever it was.
    """
    try:
        sys.stderr.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def _value(value: object) -> str:
    text = str(value)
    if text.isprintable() and PLAIN.fullmatch(text):
        return text
    quoted = json.dumps(text, ensure_ascii=False)
    # JSON leaves what other readers take for the end of a line, and what turns the direction of writing.
    return "".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in quoted)
