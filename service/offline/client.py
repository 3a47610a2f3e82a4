"""A client of the server in Python: photographs in, what was found in them out.

    with Client("http://localhost:8000") as client:
        for each in client.detect("photo.jpg").detections:
            print(each.label, each.score, each.box)

`AsyncClient` is the same with `await`. A photograph is a path, or its bytes. A server that is full, warming up or not
there is asked again when it says so, for `patience_s` at most. What it refuses is raised as the error that the server
itself has for it (service/errors.py), so `InvalidImage` is caught here as it is there.
"""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import httpx

from service.detections import Detected
from service.errors import DeadlineExceeded, Overloaded, ServiceError, Unavailable
from service.offline.answers import (
    ANYTHING,
    Asked,
    ServedModel,
    Unreachable,
    detected_of,
    error_of,
    served_model_of,
)

Image = bytes | str | Path
# What may be over by itself.
PASSING = (Overloaded, Unavailable, DeadlineExceeded, Unreachable)
FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 30.0
PATIENCE_S = 60.0
# Longer than a server keeps a request by default (FPN_TIMEOUT_S): it is the one that gives up.
TIMEOUT_S = 60.0


class Waits:
    """How long to wait before each further attempt at one thing."""

    def __init__(self, patience_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until = clock() + patience_s
        self._next_s = FIRST_WAIT_S

    def after(self, failure: ServiceError) -> float:
        """Seconds to wait after `failure`, which is raised when waiting is no help, or has lasted long enough."""
        wait_s = max(failure.retry_after_s or 0.0, self._next_s)
        self._next_s = min(2 * self._next_s, LONGEST_WAIT_S)
        if not isinstance(failure, PASSING) or self._clock() + wait_s > self._until:
            raise failure
        return wait_s


class Client:
    """Asks the server at `url`; `key` is one of its keys, where it has any."""

    def __init__(
        self,
        url: str,
        key: str | None = None,
        patience_s: float = PATIENCE_S,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._patience_s = patience_s
        self._http = httpx.Client(**_options(url, key, timeout_s))

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Closes its connections."""
        self.close()

    def close(self) -> None:
        """Closes its connections."""
        self._http.close()

    def model(self) -> ServedModel:
        """What the server serves."""
        return served_model_of(self._answer(self._http.build_request("GET", "model")).json())

    def detect(self, image: Image, asked: Asked = ANYTHING) -> Detected:
        """What was found in `image`. Raises the server's own error, or Unreachable."""
        request = self._http.build_request("POST", "detect", **_post(_bytes_of(image), asked))
        return detected_of(self._answer(request).json()["images"][0])

    def _answer(self, request: httpx.Request) -> httpx.Response:
        waits = Waits(self._patience_s)
        while True:
            try:
                return _checked(self._http.send(request))
            except httpx.TransportError as error:
                time.sleep(waits.after(_unreachable(error)))
            except ServiceError as failure:
                time.sleep(waits.after(failure))


class AsyncClient:
    """`Client` for an event loop."""

    def __init__(
        self,
        url: str,
        key: str | None = None,
        patience_s: float = PATIENCE_S,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._patience_s = patience_s
        # Who asks for more at once than httpx thinks of is limited elsewhere.
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
        self._http = httpx.AsyncClient(limits=limits, **_options(url, key, timeout_s))

    async def __aenter__(self) -> Self:
        """Itself."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Closes its connections."""
        await self._http.aclose()

    async def model(self) -> ServedModel:
        """What the server serves."""
        answer = await self._answer(self._http.build_request("GET", "model"))
        return served_model_of(answer.json())

    async def detect(self, image: Image, asked: Asked = ANYTHING) -> Detected:
        """What was found in `image`. Raises the server's own error, or Unreachable."""
        data = await asyncio.to_thread(_bytes_of, image)
        request = self._http.build_request("POST", "detect", **_post(data, asked))
        return detected_of((await self._answer(request)).json()["images"][0])

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        waits = Waits(self._patience_s)
        while True:
            try:
                return _checked(await self._http.send(request))
            except httpx.TransportError as error:
                await asyncio.sleep(waits.after(_unreachable(error)))
            except ServiceError as failure:
                await asyncio.sleep(waits.after(failure))


def _options(url: str, key: str | None, timeout_s: float) -> dict[str, Any]:
    headers = {"authorization": f"Bearer {key}"} if key else {}
    # A prefix in the address stays: paths are relative to it.
    return {"base_url": url.rstrip("/") + "/", "headers": headers, "timeout": timeout_s}


def _post(data: bytes, asked: Asked) -> dict[str, Any]:
    headers = {"content-type": "application/octet-stream"}
    return {"content": data, "headers": headers, "params": asked.query()}


def _checked(response: httpx.Response) -> httpx.Response:
    if response.is_success:
        return response
    raise error_of(response.status_code, dict(response.headers), response.content)


def _unreachable(error: httpx.TransportError) -> Unreachable:
    return Unreachable(f"{error.request.url.host}: {error or type(error).__name__}")


def _bytes_of(image: Image) -> bytes:
    return image if isinstance(image, bytes) else Path(image).read_bytes()
