"""A model's file to what serves it: loaded, and in agreement with the settings."""

import logging
from dataclasses import dataclass

from service.drift import Drift
from service.engine.engine import Engine, EngineOptions
from service.engine.folder import model_file
from service.engine.providers import GpuOptions
from service.errors import InvalidSettings
from service.settings import Settings

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Loaded:
    """A model, and what its last images are compared with, if anything."""

    engine: Engine
    drift: Drift | None


def load(settings: Settings) -> Loaded:
    """The model of the settings, as its file is now.

    Raises:
        InvalidModel: the model cannot be served.
        InvalidSettings: one goes beyond what the model takes.
    """
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
    drift = None
    if manifest.reference and settings.drift_images:
        drift = Drift(manifest.reference, manifest, settings.drift_images)
    return Loaded(engine, drift)


def stamp(settings: Settings) -> tuple[tuple[str | int, ...], ...]:
    """Changes with the file, or with any of the folder; empty while nothing is there."""
    path = settings.model
    found = []
    for file in sorted(path.glob("*.onnx")) if path.is_dir() else [path]:
        try:
            status = file.stat()
        except OSError:
            continue
        found.append((str(file), status.st_mtime_ns, status.st_size, status.st_ino, status.st_dev))
    return tuple(found)


def gpu_options(settings: Settings) -> GpuOptions:
    """What the settings say of the use of a GPU."""
    return GpuOptions(
        conv_search=settings.conv_search,
        conv_max_workspace=settings.conv_max_workspace,
        memory_bytes=settings.gpu_memory_bytes,
        tensorrt_cache=settings.tensorrt_cache,
    )
