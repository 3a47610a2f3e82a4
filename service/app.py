"""The only place that assembles: settings in, application out. No logic lives here."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from service.detector import Detector
from service.drift import Drift
from service.engine.engine import Engine, EngineOptions
from service.engine.folder import model_file
from service.engine.providers import GpuOptions
from service.errors import InvalidSettings, ServiceError
from service.http.access import AccessLog
from service.http.doorway import Doorway
from service.http.gate import Gate, openings_of
from service.http.handlers import on_http_exception, on_service_error, on_validation_error
from service.http.openapi import DESCRIPTION
from service.http.page.page import router as page_router
from service.http.pages import FILES, FILES_PATH, pages
from service.http.receiving import BodyLimits
from service.http.routes import router
from service.keys import Keys
from service.metrics import Metrics
from service.pictures.decoding import prepare_pillow
from service.settings import Settings

log = logging.getLogger(__name__)


def create_app(settings: Settings) -> FastAPI:
    """The application, with its model loaded; warming up begins when it is started.

    Raises:
        InvalidModel: the model cannot be served.
        InvalidSettings: one goes beyond what the model takes.
    """
    prepare_pillow()
    options = EngineOptions(settings.runners, settings.spinning, gpu_options(settings))
    model = model_file(settings.model, settings.device)
    engine = Engine(model, settings.device, settings.threads, options)
    manifest = engine.manifest
    if settings.max_batch > manifest.limits.max_batch:
        raise InvalidSettings(
            f"FPN_MAX_BATCH: expected at most {manifest.limits.max_batch}, which is what {model} takes;"
            f" got {settings.max_batch}"
        )
    if manifest.gate.kind == "off":
        log.warning(
            "%s: nobody measured what int8 costs this model: it was exported unjudged", model
        )
    metrics = metrics_of(engine, settings.drift_images)
    keys = Keys(settings.keys) if settings.keys else None
    app = _application(settings, metrics, keys)
    app.state.keys = keys
    app.state.settings = settings
    app.state.metrics = metrics
    app.state.engine = engine
    app.state.body_limits = BodyLimits(
        settings.max_body_bytes,
        settings.max_images,
        manifest.limits.max_regions,
        settings.min_upload_bytes_per_s,
        settings.upload_pause_s,
    )
    return app


def _application(settings: Settings, metrics: Metrics, keys: Keys | None) -> FastAPI:
    """Routes, pages and what is around them, without anything behind them yet."""
    app = FastAPI(
        title="fpn-serve",
        version=version("fpn-serve"),
        description=DESCRIPTION,
        lifespan=lifespan,
        middleware=[
            Middleware(AccessLog, metrics=metrics),
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


def metrics_of(engine: Engine, drift_images: int) -> Metrics:
    """The metrics of a server of this model. Raises InvalidSettings where so few images tell nothing of drift."""
    metrics, manifest = Metrics(), engine.manifest
    metrics.model_info.labels(
        manifest.name, manifest.version, manifest.precision, engine.provider
    ).set(1)
    metrics.start_at_zero(manifest.classes, [level.name for level in manifest.levels])
    if manifest.reference and drift_images:
        metrics.show_drift(Drift(manifest.reference, manifest, drift_images))
    return metrics


def gpu_options(settings: Settings) -> GpuOptions:
    """What the settings say of the use of a GPU."""
    return GpuOptions(
        conv_search=settings.conv_search,
        conv_max_workspace=settings.conv_max_workspace,
        memory_bytes=settings.gpu_memory_bytes,
        tensorrt_cache=settings.tensorrt_cache,
    )


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Answers /livez at once and warms up behind it; at the end, drains.

    A warm-up that fails is the exception of `app.state.warming`, which the process's main looks at.
    """
    detector = Detector(app.state.engine, app.state.settings, app.state.metrics)
    app.state.detector = detector
    app.state.warming = warming = asyncio.create_task(detector.warm_up(), name="warm-up")
    tasks = [warming]
    if app.state.keys:
        tasks.append(asyncio.create_task(app.state.keys.watch(), name="keys"))
    yield
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    await detector.stop()
