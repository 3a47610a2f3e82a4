"""Logs: one line per event, `key=value`, in UTC. Whatever came from outside is quoted, never raw.

    time=2026-01-31T12:00:00.000Z level=info logger=service.app event=ready shapes=8

Fields go in as `log.info("event", extra={"fields": {...}})`.
"""

import json
import logging
import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime

PLAIN = re.compile(r"[\w./:@%+,*-]+")


class KeyValueFormatter(logging.Formatter):
    """A record as one line of `key=value`; a traceback becomes one quoted value."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
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
        return " ".join(f"{key}={_value(value)}" for key, value in pairs.items())


def configure_logs(level: str) -> None:
    """Sends the logs of this process, uvicorn's too, to standard error in one form."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(KeyValueFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # Its lines say what ours say, except for what goes wrong.
    logging.getLogger("uvicorn").setLevel(logging.WARNING)


def _value(value: object) -> str:
    text = str(value)
    if text.isprintable() and PLAIN.fullmatch(text):
        return text
    quoted = json.dumps(text, ensure_ascii=False)
    # JSON leaves what other readers take for the end of a line, and what turns the direction of writing.
    return "".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in quoted)
