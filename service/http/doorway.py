"""What is done with every request before the application sees it.

HEAD            as GET, without the body, on every route that has GET
a path prefix   the same paths with and without it: some proxies take it away, others do not
no place free   only questions for the server's health are answered
"""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import Overloaded
from service.http.problems import problem_from, shortened
from service.metrics import Metrics

HEALTH = {"/livez", "/readyz", "/metrics"}
RETRY_S = 1.0


class Doorway:
    """ASGI middleware inside the access log, which hands on a scope that may be changed."""

    def __init__(
        self, app: ASGIApp, root_path: str, metrics: Metrics, full_status: int = 503
    ) -> None:
        """`full_status` refuses when no place is free."""
        self._app = app
        self._full_status = full_status
        self._root_path = root_path
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        if scope["type"] == "http":
            path = scope["path"]
            if (
                scope["state"].get("for_health")
                and path.removeprefix(self._root_path) not in HEALTH
            ):
                await self._refuse(scope, receive, send)
                return
            if not f"{path}/".startswith(f"{self._root_path}/"):
                scope["path"] = self._root_path + path
            scope["root_path"] = self._root_path
            if scope["method"] == "HEAD":
                scope["method"] = "GET"
                send = _without_body(send)
        await self._app(scope, receive, send)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        error = Overloaded(
            "as many connections as may be are open, and none is idle",
            reason="connections",
            retry_after_s=RETRY_S,
        )
        self._metrics.refused.labels(error.reason).inc()
        scope["state"]["log_fields"] = {"reason": error.reason}
        problem = problem_from(error)
        problem.status = self._full_status
        problem.instance = shortened(scope["path"])
        problem.request_id = scope["state"]["request_id"]
        response = problem.to_response()
        response.headers["connection"] = "close"
        await response(scope, receive, send)


def _without_body(send: Send) -> Send:
    async def send_head(message: Message) -> None:
        if message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await send(message)

    return send_head
