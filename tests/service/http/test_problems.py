import json

import pytest

from service import errors
from service.http.problems import KINDS, catalogue, problem_from, problem_of_status

AT_START = {errors.InvalidSettings, errors.InvalidModel, errors.WrongAnswers}


def test_every_error_that_a_caller_can_meet_is_in_the_table() -> None:
    # A client has some of its own.
    ours = {e for e in errors.ServiceError.__subclasses__() if e.__module__ == errors.__name__}
    assert ours - AT_START == set(KINDS)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.InvalidImage("x"), 400),
        (errors.TooLarge("x"), 413),
        (errors.UnsupportedMediaType("x"), 415),
        (errors.InvalidRequest("x"), 422),
        (errors.DecodingFailed("x"), 500),
        (errors.InferenceFailed("x"), 500),
        (errors.Overloaded("x"), 503),
        (errors.Unavailable("x"), 503),
        (errors.DeadlineExceeded("x"), 504),
    ],
)
def test_an_error_has_its_status_and_tells_its_detail(
    error: errors.ServiceError, status: int
) -> None:
    problem = problem_from(error)
    assert (problem.status, problem.detail) == (status, "x")
    assert problem.type.startswith("/problems/")


def test_no_two_problems_share_a_type() -> None:
    assert len({kind.type for kind in KINDS.values()}) == len(KINDS)


@pytest.mark.parametrize("error", [KeyError("secret"), errors.InvalidModel("/secret/path")])
def test_nothing_is_told_of_any_other_error(error: Exception) -> None:
    problem = problem_from(error)
    assert problem.status == 500
    assert "secret" not in problem.model_dump_json()


@pytest.mark.parametrize(("wait_s", "header"), [(0.1, "1"), (2.0, "2"), (2.1, "3")])
def test_retry_after_is_whole_seconds_rounded_up(wait_s: float, header: str) -> None:
    response = problem_from(errors.Overloaded("full", retry_after_s=wait_s)).to_response()
    assert response.headers["retry-after"] == header
    assert response.headers["content-type"] == "application/problem+json"


def test_without_a_time_to_wait_there_is_no_retry_after() -> None:
    response = problem_from(errors.Unavailable("broken")).to_response()
    assert "retry-after" not in response.headers
    assert None not in json.loads(bytes(response.body)).values()


def test_a_bare_status_has_the_blank_type() -> None:
    problem = problem_of_status(404)
    assert (problem.type, problem.title) == ("about:blank", "Not Found")


def test_the_catalogue_lists_what_clients_can_meet() -> None:
    text = catalogue()
    assert "/problems/overloaded" in text
    assert "/problems/internal" in text
    assert "client-gone" not in text
