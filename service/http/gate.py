"""Who is answered: which routes are open, which need a key, which are not there.

A key comes as `Authorization: Bearer KEY`, as `X-Api-Key: KEY`, or as the password of `Authorization: Basic`, which is
what a browser asks its visitor for: so the page works with keys, too.
"""

import base64
import binascii
from collections.abc import Mapping

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from service.errors import Unauthorized
from service.http.doorway import HEALTH
from service.http.problems import ProblemDetails, problem_from, problem_of_status, shortened
from service.keys import ANYBODY, Key, Keys
from service.metrics import Metrics
from service.optional_settings import Opening, OptionalSettings

# Questions of whoever restarts processes and sends requests elsewhere; /metrics has a setting of its own.
ALWAYS_OPEN = HEALTH - {"/metrics"}
DOCS = ("/docs", "/openapi.json", "/static-offline-docs")
PAGE = ("/page",)
# Chromium takes a header with two for one that it does not know.
CHALLENGES = ("Bearer", 'Basic realm="fpn-serve: the key is the password"')


class Gate:
    """ASGI middleware inside the doorway: `state.key` of every request that is let in is its key."""

    def __init__(
        self,
        app: ASGIApp,
        keys: Keys | None,
        openings: Mapping[str, Opening],
        metrics: Metrics,
    ) -> None:
        """`openings` are those of `openings_of`."""
        self._app = app
        self._keys = keys
        self._openings = openings
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state = scope["state"]
        opening = self._opening(scope["path"].removeprefix(scope.get("root_path", "")))
        if opening == "off":
            await self._refuse(problem_of_status(404), scope, receive, send)
            return
        try:
            state["key"] = self._key(opening, Headers(scope=scope))
        except Unauthorized as error:
            self._metrics.refused.labels(error.reason).inc()
            state["log_fields"] = {"reason": error.reason}
            await self._refuse(problem_from(error), scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _opening(self, path: str) -> Opening:
        if path in ALWAYS_OPEN:
            return "open"
        first = "/" + path.strip("/").partition("/")[0]
        # All else works, and is for who has a key where there are any.
        return self._openings.get(first, "key")

    def _key(self, opening: Opening, headers: Headers) -> Key:
        if self._keys is None or opening == "open":
            return ANYBODY
        return self._keys.find(secret_of(headers))

    async def _refuse(
        self, problem: ProblemDetails, scope: Scope, receive: Receive, send: Send
    ) -> None:
        problem.instance = shortened(scope["path"])
        problem.request_id = scope["state"]["request_id"]
        response = problem.to_response()
        for challenge in CHALLENGES if problem.status == 401 else ():
            response.headers.append("www-authenticate", challenge)
        await response(scope, receive, send)


def openings_of(settings: OptionalSettings) -> dict[str, Opening]:
    """Who is answered, by the first part of a path."""
    return {
        "/": settings.page,
        **dict.fromkeys(PAGE, settings.page),
        **dict.fromkeys(DOCS, settings.docs),
        "/metrics": settings.metrics,
        # It looks for a key in the body, too, where the header has none.
        **({"/v1": "open"} if settings.deepstack else {}),
    }


def secret_of(headers: Headers) -> str | None:
    """The key that a request brings, as it came."""
    scheme, _, given = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return given.strip()
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(given.strip(), validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            return None
    return headers.get("x-api-key")
