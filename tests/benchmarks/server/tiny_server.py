"""A tiny application behind a real uvicorn, in the event loop of the test."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import uvicorn


class TinyApp:
    """Answers /count with the bytes of the body, /fail with 503 and `Retry-After: 9`, and /held once `gate` is open.

    Attributes:
        asked: requests so far.
        clients: the ports that they came from, so many as connections.
        waiting: how many wait at the gate.
    """

    def __init__(self) -> None:
        self.asked = 0
        self.clients: set[int] = set()
        self.waiting = asyncio.Semaphore(0)
        self.gate = asyncio.Event()

    async def __call__(
        self,
        scope: dict[str, Any],
        receive: Callable[[], Awaitable[dict[str, Any]]],
        send: Callable[[dict[str, Any]], Awaitable[None]],
    ) -> None:
        self.asked += 1
        self.clients.add(scope["client"][1])
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message["body"], message["more_body"]
        if scope["path"] == "/held":
            self.waiting.release()
            await self.gate.wait()
        status, answer = 503 if scope["path"] == "/fail" else 200, str(len(body)).encode()
        headers = [(b"retry-after", b"9")] if status == 503 else []
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": answer})


@asynccontextmanager
async def serving(app: TinyApp) -> AsyncIterator[int]:
    """The port at which `app` is served."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, lifespan="off", log_config=None, access_log=False, ws="none")
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started:
        await asyncio.sleep(0.01)
    yield listener.getsockname()[1]
    server.should_exit = True
    await task


def request(path: str, body: bytes = b"photograph") -> bytes:
    """A ready-made request."""
    head = f"POST {path} HTTP/1.1\r\nHost: here\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body
