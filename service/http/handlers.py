"""Every error that reaches FastAPI, answered as problem details."""

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from service.errors import (
    DeadlineExceeded,
    InvalidRequest,
    Overloaded,
    ServiceError,
    TooLarge,
    Unavailable,
)
from service.http.problems import InvalidParameter, ProblemDetails, problem_from, problem_of_status

REFUSALS = (Overloaded, Unavailable, TooLarge, DeadlineExceeded)


async def on_service_error(request: Request, error: Exception) -> Response:
    """The problem of one of our own errors; a refusal is counted by its reason."""
    assert isinstance(error, ServiceError)
    if isinstance(error, REFUSALS) and request.url.path == "/detect":
        request.app.state.metrics.refused.labels(error.reason).inc()
    request.state.log_fields = {"reason": error.reason}
    return _reply(request, problem_from(error))


async def on_validation_error(request: Request, error: Exception) -> Response:
    """The problem of a query or a JSON body that FastAPI or pydantic refused: where, and why."""
    assert isinstance(error, RequestValidationError)
    errors = [
        InvalidParameter(where=".".join(str(part) for part in each["loc"]), message=each["msg"])
        for each in error.errors()
    ]
    detail = "; ".join(f"{each.where}: {each.message}" for each in errors[:3])
    problem = problem_from(InvalidRequest(detail))
    problem.errors = errors
    return _reply(request, problem)


async def on_http_exception(request: Request, error: Exception) -> Response:
    """The problem of a bare status code: an unknown path, or a method that it does not have."""
    assert isinstance(error, HTTPException)
    response = _reply(request, problem_of_status(error.status_code))
    response.headers.update(error.headers or {})
    return response


def _reply(request: Request, problem: ProblemDetails) -> Response:
    problem.instance = request.url.path
    problem.request_id = request.state.request_id
    return problem.to_response()
