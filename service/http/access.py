"""The outermost layer of every request: its id, its log line, its metrics, and the last guard.

An exception that nothing else expected is logged here with its traceback and answered 500 without
detail.
"""

import asyncio
import logging
import re
from time import perf_counter
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import Unavailable
from service.http.doorway import HEALTH
from service.http.problems import ProblemDetails, problem_from, shortened
from service.metrics import Metrics
from service.traces import RequestSpan, Traces

log = logging.getLogger(__name__)

REQUEST_ID = "x-request-id"
ACCEPTED_ID = re.compile(r"[\w.:@/+=-]{1,128}", re.ASCII)
# The label of every path that is not ours, so that labels stay few.
UNMATCHED = "unmatched"
# The client was gone before anything was sent.
NO_REPLY = 499


class AccessLog:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, metrics: Metrics, traces: Traces | None = None) -> None:
        self._app = app
        self._metrics = metrics
        self._traces = traces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        method = scope["method"]
        # What is inside changes it, and the server goes by its own.
        scope = dict(scope)
        began = perf_counter()
        state = scope.setdefault("state", {})
        state["began"] = began
        state["request_id"] = request_id = _request_id(Headers(scope=scope))
        if self._traces:
            state["span"] = _span(self._traces, scope, request_id)
        code = NO_REPLY

        async def send_with_id(message: Message) -> None:
            nonlocal code
            if message["type"] == "http.response.start":
                code = message["status"]
                MutableHeaders(scope=message)[REQUEST_ID] = request_id
            await send(message)

        async def send_problem(problem: ProblemDetails) -> None:
            problem.request_id = request_id
            await problem.to_response()(scope, receive, send_with_id)

        try:
            await self._app(scope, receive, send_with_id)
        except asyncio.CancelledError:
            # The drain was cut short. Nobody waits for this task but the server, which would answer in its own words.
            if code != NO_REPLY:
                raise
            await send_problem(problem_from(Unavailable("the server is shutting down")))
        except Exception as error:
            log.exception("unexpected error", extra={"fields": {"request_id": request_id}})
            # Too late for another answer: the server closes the connection.
            if code != NO_REPLY:
                raise
            await send_problem(problem_from(error))
        finally:
            self._record(scope, method, code, perf_counter() - began)

    def _record(self, scope: Scope, method: str, code: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", UNMATCHED)
        self._metrics.observe_request(route, code, seconds)
        key = getattr(scope["state"].get("key"), "name", "")
        if key:
            self._metrics.key_requests.labels(key, str(code)).inc()
        fields = {
            "request_id": scope["state"]["request_id"],
            "method": method,
            "path": shortened(scope["path"]),
            "code": code,
            "total_s": round(seconds, 6),
            "client": (scope.get("client") or ("",))[0],
            **({"key": key} if key else {}),
            **scope["state"].get("log_fields", {}),
        }
        span: RequestSpan | None = scope["state"].get("span")
        if span:
            fields["trace_id"] = span.trace_id
            span.end(route, code, {"fpn.key": key} if key else {})
        level = logging.DEBUG if route in HEALTH else logging.INFO
        log.log(level, "request", extra={"fields": fields})


def _span(traces: Traces, scope: Scope, request_id: str) -> RequestSpan:
    attributes = {
        "http.request.method": scope["method"],
        "url.path": shortened(scope["path"]),
        "client.address": (scope.get("client") or ("",))[0],
        "fpn.request_id": request_id,
    }
    return traces.request(Headers(scope=scope), attributes)


def _request_id(headers: Headers) -> str:
    given = headers.get(REQUEST_ID, "")
    return given if ACCEPTED_ID.fullmatch(given) else uuid4().hex
