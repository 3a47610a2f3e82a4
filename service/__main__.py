"""`fpn-serve`, or `python -m service`: settings, model, then serving until told to stop.

Exit codes: 0 after SIGTERM, 130 after Ctrl-C, 2 when a setting, the model or the port cannot be
used (with one line that says which), 1 when the model fails to warm up, gives other answers than
at export, or hangs at the end. `--check` only compares the answers: 0 when they are the same.
"""

import argparse
import asyncio
import atexit
import logging
import math
import os
import signal
import socket
import sys
from functools import partial
from pathlib import Path
from types import FrameType
from typing import NoReturn, cast

import uvicorn
from fastapi import FastAPI

from service.app import create_app
from service.check import check, table
from service.detector import Detector
from service.errors import InvalidSettings, ServiceError, WrongAnswers
from service.golden import refuse_wrong
from service.http.connections import ConnectionLimits, Connections
from service.http.transport import HttpConnection
from service.keys import new_key
from service.logs import configure_logs, forget_unwritten
from service.settings import Settings, backlog, describe_settings, descriptors, load_settings

log = logging.getLogger(__name__)


class Server(uvicorn.Server):
    """uvicorn's server, which also drains on a signal and stops when the model does not warm up."""

    def __init__(self, config: uvicorn.Config, app: FastAPI, connections: Connections) -> None:
        super().__init__(config)
        self._app = app
        self._connections = connections

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Opens the listening socket and says where it is."""
        await super().startup(sockets)
        self._watching = asyncio.create_task(self._connections.watch(), name="connections")
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._reload)
        if sockets:
            announce(self._app, *sockets[0].getsockname()[:2])

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Finishes what is inside; connections are watched until then."""
        await super().shutdown(sockets)
        self._watching.cancel()

    async def on_tick(self, counter: int) -> bool:
        """Whether to stop; asked by uvicorn ten times a second."""
        return await super().on_tick(counter) or self.warm_up_failure is not None

    def _reload(self) -> None:
        """Serves the model as its file is now, if that is good; reads the keys, too."""
        if self._app.state.keys:
            self._app.state.keys.look()
        self._app.state.swap.begin()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stops being ready at once; uvicorn then finishes what is inside."""
        if self._detector:
            self._detector.readiness.drain()
        super().handle_exit(sig, frame)

    @property
    def has_let_go(self) -> bool:
        """Whether all threads have come back, or none were made."""
        if self._detector is None:
            return True
        return self._detector.inference.stopped and bool(self._app.state.swap.has_let_go)

    @property
    def has_warmed_up(self) -> bool:
        """Whether warming up came to its end before the server did."""
        return not self._app.state.warming.cancelled()

    @property
    def _detector(self) -> Detector | None:
        """The detector, once the application has started."""
        return getattr(self._app.state, "detector", None)

    @property
    def warm_up_failure(self) -> BaseException | None:
        """What the model raised while it warmed up."""
        warming = self._app.state.warming
        return warming.exception() if warming.done() and not warming.cancelled() else None


def main(arguments: list[str] | None = None) -> None:
    """Runs the server, or only the check of its answers, and exits the process."""
    parser = argparse.ArgumentParser(
        "fpn-serve",
        description="Serves a detector over HTTP. Everything is set by environment variables:",
        epilog=describe_settings(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--check",
        nargs="?",
        const="",
        metavar="MODEL",
        help="run the golden photographs of the model (by default FPN_MODEL), print how they fare, and exit:"
        " 0 when all are answered as at export, else 1",
    )
    parser.add_argument(
        "--new-key",
        metavar="NAME",
        help="print what the file of FPN_KEYS is to say of a new key, and the key itself on standard error, and exit",
    )
    options = parser.parse_args(arguments)
    model: str | None = options.check
    try:
        if options.new_key is not None:
            secret, entry = new_key(options.new_key)
            print(entry, end="")
            # Not where the entry goes, which is into the file.
            sys.stderr.write(f"the key, which is kept nowhere else: {secret}\n")
        elif model is not None:
            check_answers(load_settings(), model)
        else:
            # uvicorn raises the signal again once it has drained; before that, it stops a start that hangs.
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
            serve(load_settings())
    except WrongAnswers as error:
        _leave(1, error.detail)
    except ServiceError as error:
        _leave(2, error.detail)
    except KeyboardInterrupt:
        sys.exit(130)


def serve(settings: Settings) -> None:
    """Serves until a signal.

    Raises:
        InvalidSettings: the address cannot be listened on.
        InvalidModel: the model cannot be served.
        WrongAnswers: the model gives other answers here than at export.
    """
    configure_logs(settings.log_level, settings.log_format)
    atexit.register(forget_unwritten)
    listener = bind(settings.host, settings.port)
    app = create_app(settings)
    connections = Connections(connection_limits(settings), app.state.metrics)
    config = uvicorn.Config(
        app,
        http=cast("type[HttpConnection]", partial(HttpConnection, connections=connections)),
        lifespan="on",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        backlog=backlog(descriptors()),
        forwarded_allow_ips=settings.forwarded_allow_ips,
        # The connections do that themselves.
        timeout_keep_alive=math.ceil(2 * settings.keep_alive_s),
        timeout_graceful_shutdown=math.ceil(settings.shutdown_s),
        workers=1,
    )
    server = Server(config, app, connections)
    try:
        server.run(sockets=[listener])
    finally:
        if not server.has_let_go:
            # A thread is in the engine, and Python would wait for it, for ever if it hangs there. A batch that
            # does not come back is a failure; warming up is only slow, and nobody waits for it.
            os._exit(1 if server.has_warmed_up else 0)
    failure = server.warm_up_failure
    if isinstance(failure, WrongAnswers):
        raise WrongAnswers(f"{settings.model}: {failure.detail}")
    if failure is not None:
        _leave(1, f"{settings.model}: the model failed to warm up: {failure}")


def check_answers(settings: Settings, model: str = "") -> None:
    """Prints how the golden photographs of `model` fare, or of the model of the settings.

    Raises:
        InvalidModel: the model cannot be served, or has none.
        WrongAnswers: it gives other answers here than at export.
    """
    configure_logs(settings.log_level, settings.log_format)
    if model:
        settings = settings.model_copy(update={"model": Path(model)})
    given = check(settings)
    print(table(given))
    try:
        refuse_wrong(given)
    except WrongAnswers as error:
        raise WrongAnswers(f"{settings.model}: {error.detail}") from error


def connection_limits(settings: Settings) -> ConnectionLimits:
    """What the settings say of connections."""
    return ConnectionLimits(
        max_connections=settings.max_connections,
        max_header_bytes=settings.max_header_bytes,
        header_s=settings.header_timeout_s,
        keep_alive_s=settings.keep_alive_s,
        linger_s=settings.linger_s,
    )


def bind(host: str, port: int) -> socket.socket:
    """A socket that is bound, and does not listen yet. Raises InvalidSettings when it cannot be."""
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise InvalidSettings(
            f"FPN_HOST, FPN_PORT: cannot listen on {host} port {port}: {error.strerror}"
        ) from error
    return listener


def announce(app: FastAPI, host: str, port: int) -> None:
    """Logs where the server listens, what it serves, and how to try it."""
    engine = app.state.engine
    shown = "localhost" if host in ("0.0.0.0", "::") else host
    url = f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"
    fields = {
        "address": url,
        "model": engine.manifest.name,
        "version": engine.manifest.version,
        "provider": engine.provider,
        "try": f"curl -F images=@photo.jpg {url}/detect",
    }
    log.info("listening", extra={"fields": fields})


def _leave(code: int, message: str) -> NoReturn:
    sys.stderr.write(f"fpn-serve: {message}\n")
    sys.exit(code)


if __name__ == "__main__":
    main()
