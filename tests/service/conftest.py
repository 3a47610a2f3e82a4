"""What the tests of the service share: the tiny model, settings for it, images, a running client."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import hypothesis
import pytest
from fastapi import FastAPI

from service.app import create_app
from service.artifact.manifest import Manifest
from service.pictures.decoding import prepare_pillow
from service.settings import Settings
from tests.service.tiny_model import MANIFEST, write_tiny_model

# A busy machine is no reason to fail.
hypothesis.settings.register_profile("tests", deadline=None)
hypothesis.settings.load_profile("tests")


@pytest.fixture(autouse=True)
def _pillow() -> None:
    prepare_pillow()  # pytest restores the filters of warnings around every test


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def tiny_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("model") / "tiny.onnx")


@pytest.fixture(scope="session")
def manifest() -> Manifest:
    return Manifest.model_validate(MANIFEST, strict=False)


@pytest.fixture
def settings(tiny_path: Path) -> Settings:
    return small_settings(tiny_path)


@pytest.fixture
async def client(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    async with running(create_app(settings)) as client:
        yield client


def small_settings(model: Path, **changes: Any) -> Settings:
    """Settings for tests: one thread for everything, and what `changes` says."""
    values: dict[str, Any] = {
        "model": model,
        "device": "cpu",
        "threads": 1,
        "decode_workers": 1,
        "max_batch": 4,
    }
    return Settings(**{**values, **changes})


@asynccontextmanager
async def running(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """A client of `app`, in this event loop, once the model has warmed up."""
    async with app.router.lifespan_context(app):
        await asyncio.wait([app.state.warming])
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            yield client
