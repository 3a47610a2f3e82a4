"""The outermost layer of every request: its id, its log line, its metrics, and the last guard.

An exception that nothing else expected is logged here with its traceback and answered 500 without
detail.
"""

import logging
import re
from time import perf_counter
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.http.problems import problem_from
from service.metrics import Metrics

log = logging.getLogger(__name__)

REQUEST_ID = "x-request-id"
ACCEPTED_ID = re.compile(r"[\w.:@/+=-]{1,128}", re.ASCII)
# Asked every few seconds: logged at debug level.
QUIET = {"/livez", "/readyz", "/metrics"}
# The label of every path that is not ours, so that labels stay few.
UNMATCHED = "unmatched"
# The client was gone, or the drain was cut short, before anything was sent.
NO_REPLY = 499


class AccessLog:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = perf_counter()
        state = scope.setdefault("state", {})
        state["began"] = began
        state["request_id"] = request_id = _request_id(Headers(scope=scope))
        code = NO_REPLY

        async def send_with_id(message: Message) -> None:
            nonlocal code
            if message["type"] == "http.response.start":
                code = message["status"]
                MutableHeaders(scope=message)[REQUEST_ID] = request_id
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except Exception as error:
            log.exception("unexpected error", extra={"fields": {"request_id": request_id}})
            # Too late for another answer: the server closes the connection.
            if code != NO_REPLY:
                raise
            problem = problem_from(error)
            problem.request_id = request_id
            await problem.to_response()(scope, receive, send_with_id)
        finally:
            self._record(scope, code, perf_counter() - began)

    def _record(self, scope: Scope, code: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", UNMATCHED)
        self._metrics.observe_request(route, code, seconds)
        fields = {
            "request_id": scope["state"]["request_id"],
            "method": scope["method"],
            "path": scope["path"],
            "code": code,
            "total_s": round(seconds, 6),
            **scope["state"].get("log_fields", {}),
        }
        level = logging.DEBUG if route in QUIET else logging.INFO
        log.log(level, "request", extra={"fields": fields})


def _request_id(headers: Headers) -> str:
    given = headers.get(REQUEST_ID, "")
    return given if ACCEPTED_ID.fullmatch(given) else uuid4().hex
