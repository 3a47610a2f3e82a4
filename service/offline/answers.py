"""What goes to the server and what comes back, as a client has it: no connections here.

A refusal is the very error that the server had (service/errors.py), found by its problem's `type`.
"""

import json
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, Literal

from pydantic import TypeAdapter

from service.detections import AskedThreshold, Detected
from service.errors import DeadlineExceeded, ServiceError, Unavailable
from service.http.problems import KINDS

# Of whatever stands before the server, which knows no problems of ours.
GATEWAYS = {502: Unavailable, 503: Unavailable, 504: DeadlineExceeded}
DETECTED = TypeAdapter(Detected)
BY_TYPE = {kind.type: error for error, kind in KINDS.items()}


class Unreachable(ServiceError):
    """The server does not answer at all."""

    reason = "unreachable"


class UnexpectedAnswer(ServiceError):
    """An answer that this client knows nothing of; `status` is its status code."""

    reason = "unexpected"

    def __init__(self, detail: str, status: int) -> None:
        super().__init__(detail)
        self.status = status


@dataclass(frozen=True)
class Asked:
    """The query of /detect: docs/http.md says what each means. None is the server's default."""

    score_threshold: AskedThreshold = None
    max_detections: int | None = None
    classes: tuple[str, ...] = ()
    proposals: int = 0
    levels: tuple[str, ...] = ()
    tiles: str | int | None = None
    priority: Literal["interactive", "bulk"] = "interactive"
    timeout_s: float | None = None

    def query(self) -> dict[str, Any]:
        """As parameters; what is None is not sent."""
        return {name: value for name, value in vars(self).items() if value not in (None, ())}


ANYTHING = Asked()


@dataclass(frozen=True)
class ServedModel:
    """What answers: the names that its answers use, and the data set's ids of its classes."""

    name: str
    version: str
    classes: tuple[str, ...] = field(repr=False)
    category_ids: tuple[int, ...] = field(repr=False)


def served_model_of(answer: dict[str, Any]) -> ServedModel:
    """What /model says."""
    manifest = answer["manifest"]
    classes, category_ids = manifest["classes"], manifest["category_ids"]
    return ServedModel(
        manifest["name"], manifest["version"], tuple(classes), tuple(map(int, category_ids))
    )


def detected_of(entry: dict[str, Any]) -> Detected:
    """What was found, out of the entry of one image: in an answer of /detect, or in a line of fpn-detect."""
    return DETECTED.validate_python({"proposals": {}, **entry})


def error_of(status: int, headers: dict[str, str], body: bytes) -> ServiceError:
    """The error that an answer stands for. `headers` have names in small letters."""
    problem = _problem(body)
    wait_s = _retry_after_s(headers.get("retry-after"), headers.get("date"))
    kind = BY_TYPE.get(problem.get("type", ""), GATEWAYS.get(status))
    said = problem.get("detail") or problem.get("title") or f"the answer had status {status}"
    if kind is None:
        return UnexpectedAnswer(f"{said} ({status})", status)
    return kind(said, retry_after_s=wait_s)


def _problem(body: bytes) -> dict[str, Any]:
    try:
        problem = json.loads(body)
    except ValueError:
        return {}
    return problem if isinstance(problem, dict) else {}


def _retry_after_s(said: str | None, now: str | None) -> float | None:
    """Seconds; the header may have a moment, too, by the clock that `now` is from."""
    if said is None:
        return None
    if said.isdecimal():
        return float(said)
    try:
        return max(0.0, (_moment(said) - _moment(now or said)).total_seconds())
    except ValueError:
        return None


def _moment(text: str) -> datetime:
    return parsedate_to_datetime(text)
