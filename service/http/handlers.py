"""Every error that reaches FastAPI, answered as problem details."""

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from service.errors import (
    DeadlineExceeded,
    InvalidRequest,
    Overloaded,
    QuotaExceeded,
    ServiceError,
    TooLarge,
    Unavailable,
    UploadTooSlow,
)
from service.http.problems import (
    MOST_ERRORS,
    InvalidParameter,
    ProblemDetails,
    problem_from,
    problem_of_status,
    shortened,
)

REFUSALS = (Overloaded, QuotaExceeded, Unavailable, TooLarge, UploadTooSlow, DeadlineExceeded)


async def on_service_error(request: Request, error: Exception) -> Response:
    """The problem of one of our own errors; a refusal is counted by its reason."""
    assert isinstance(error, ServiceError)
    route = getattr(request.scope.get("route"), "path", None)
    if isinstance(error, REFUSALS) and route == "/detect":
        request.app.state.metrics.refused.labels(error.reason).inc()
    request.state.log_fields = {"reason": error.reason}
    problem = problem_from(error)
    if isinstance(error, Overloaded):
        problem.status = request.app.state.settings.full_status
    return _reply(request, problem)


async def on_validation_error(request: Request, error: Exception) -> Response:
    """The problem of a query or a JSON body that FastAPI or pydantic refused: where, and why, at most ten times."""
    assert isinstance(error, RequestValidationError)
    errors = [
        InvalidParameter(
            where=shortened(".".join(str(part) for part in each["loc"])),
            message=shortened(each["msg"]),
        )
        for each in error.errors()[:MOST_ERRORS]
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
    problem.instance = shortened(request.url.path)
    problem.request_id = request.state.request_id
    return problem.to_response()
