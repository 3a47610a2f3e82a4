"""Refusals, also those of what stands before a server, as a client has them."""

import json

import pytest

from service.errors import DeadlineExceeded, Overloaded, QuotaExceeded, ServiceError, Unavailable
from service.offline.answers import UnexpectedAnswer, error_of

NOW = "Mon, 30 Nov 2026 12:00:00 GMT"
LATER = "Mon, 30 Nov 2026 12:00:30 GMT"


def problem(slug: str) -> bytes:
    return json.dumps({"type": f"/problems/{slug}", "detail": "said"}).encode()


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (503, problem("overloaded"), Overloaded),
        (429, problem("overloaded"), Overloaded),
        (429, problem("quota-exceeded"), QuotaExceeded),
        (503, b"<html>", Unavailable),
        (502, b"", Unavailable),
        (504, b"[]", DeadlineExceeded),
        (500, problem("internal"), UnexpectedAnswer),
        (404, b'{"type": "about:blank", "title": "Not Found"}', UnexpectedAnswer),
    ],
)
def test_a_refusal_is_the_error_that_its_problem_names_or_its_status_means(
    status: int, body: bytes, expected: type[ServiceError]
) -> None:
    assert type(error_of(status, {}, body)) is expected


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7),
        ({"retry-after": LATER, "date": NOW}, 30),
        ({"retry-after": NOW, "date": LATER}, 0),
        ({"retry-after": LATER}, 0),
        ({"retry-after": "soon"}, None),
    ],
)
def test_the_time_to_wait_is_in_seconds_whatever_way_it_is_said(
    headers: dict[str, str], wait_s: float | None
) -> None:
    assert error_of(503, headers, b"").retry_after_s == wait_s
