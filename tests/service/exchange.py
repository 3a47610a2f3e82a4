"""Requests and answers in the tests of the HTTP interface."""

from typing import Any

import httpx

PROBLEM = "application/problem+json"


def parts(*images: bytes) -> list[tuple[str, tuple[str, bytes]]]:
    """`images` as the parts of a multipart body, for httpx."""
    return [("images", ("x.png", image)) for image in images]


def problem_of(answer: httpx.Response) -> dict[str, Any]:
    """The problem that `answer` is; it must be one, whole and consistent."""
    assert answer.headers["content-type"] == PROBLEM
    problem: dict[str, Any] = answer.json()
    assert problem["status"] == answer.status_code
    assert problem["request_id"] == answer.headers["x-request-id"]
    return problem
