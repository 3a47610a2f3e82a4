"""The only place that assembles: settings in, application out. No logic lives here."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from service.detector import Detector
from service.errors import ServiceError
from service.http.access import AccessLog
from service.http.deepstack import router as deepstack
from service.http.doorway import Doorway
from service.http.gate import Gate, openings_of
from service.http.handlers import on_http_exception, on_service_error, on_validation_error
from service.http.openapi import DESCRIPTION
from service.http.page.page import router as page_router
from service.http.pages import FILES, FILES_PATH, pages
from service.http.routes import router
from service.keys import Keys
from service.loading import Loaded, load
from service.metrics import Metrics
from service.pictures.decoding import prepare_pillow
from service.settings import Settings
from service.shadow import Shadow, shadow_engine
from service.swap import Swap
from service.traces import Traces


def create_app(settings: Settings) -> FastAPI:
    """The application, with its model loaded; warming up begins when it is started.

    Raises:
        InvalidModel: the model cannot be served.
        InvalidSettings: one goes beyond what the model takes.
    """
    prepare_pillow()
    loaded = load(settings)
    metrics = Metrics()
    engine = loaded.engine
    metrics.show_model(engine.manifest, engine.provider, engine.wanted, loaded.drift)
    keys = Keys(settings.keys) if settings.keys else None
    traces = Traces() if settings.traces else None
    app = _application(settings, metrics, keys, traces)
    app.state.traces = traces
    app.state.keys = keys
    app.state.settings = settings
    app.state.metrics = metrics
    app.state.engine = loaded.engine
    app.state.shadow_engine = shadow_engine(settings, loaded.engine.manifest)
    return app


def _application(
    settings: Settings, metrics: Metrics, keys: Keys | None, traces: Traces | None
) -> FastAPI:
    """Routes, pages and what is around them, without anything behind them yet."""
    app = FastAPI(
        title="fpn-serve",
        version=version("fpn-serve"),
        description=DESCRIPTION,
        lifespan=lifespan,
        middleware=[
            Middleware(AccessLog, metrics=metrics, traces=traces),
            *cors(settings.cors_origins),
            Middleware(
                Doorway,
                root_path=settings.root_path,
                metrics=metrics,
                full_status=settings.full_status,
            ),
            Middleware(Gate, keys=keys, openings=openings_of(settings), metrics=metrics),
        ],
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        # Relative to the document, wherever a proxy has put it.
        servers=[{"url": "."}],
        root_path_in_servers=False,
        exception_handlers={
            ServiceError: on_service_error,
            RequestValidationError: on_validation_error,
            HTTPException: on_http_exception,
        },
    )
    app.include_router(router)
    app.include_router(pages)
    if settings.deepstack:
        app.include_router(deepstack)
    app.mount(FILES_PATH, FILES)
    app.include_router(page_router)
    return app


def cors(origins: str) -> list[Middleware]:
    """What lets pages of these origins ask; nothing where there are none."""
    if not origins:
        return []
    return [
        Middleware(
            CORSMiddleware,
            allow_origins=origins.split(","),
            allow_methods=["GET", "POST"],
            allow_headers=["authorization", "content-type", "x-api-key", "x-request-id"],
            expose_headers=["retry-after", "server-timing", "x-request-id"],
        )
    ]


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Answers /livez at once and warms up behind it; at the end, drains.

    A warm-up that fails is the exception of `app.state.warming`, which the process's main looks at.
    """
    settings, metrics = app.state.settings, app.state.metrics
    detector = Detector(app.state.engine, settings, metrics)
    detector.show()

    def switch(loaded: Loaded, fresh: Detector) -> None:
        app.state.engine, app.state.detector = loaded.engine, fresh
        engine = loaded.engine
        metrics.show_model(fresh.manifest, engine.provider, engine.wanted, loaded.drift)
        fresh.show()

    app.state.detector = detector
    app.state.warming = warming = asyncio.create_task(detector.warm_up(), name="warm-up")
    app.state.swap = swap = Swap(detector, settings, metrics, switch, warming)
    tasks = [warming]
    app.state.shadow = shadow = None
    if app.state.shadow_engine:
        app.state.shadow = shadow = Shadow(app.state.shadow_engine, settings, metrics)
        tasks.append(asyncio.create_task(shadow.warm_up(), name="shadow"))
    if app.state.keys:
        tasks.append(asyncio.create_task(app.state.keys.watch(), name="keys"))
    if settings.watch:
        tasks.append(asyncio.create_task(swap.watch(), name="watch"))
    yield
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    await swap.stop()
    if shadow:
        await shadow.stop()
    if app.state.traces:
        await asyncio.to_thread(app.state.traces.stop)
    await swap.detector.stop()
