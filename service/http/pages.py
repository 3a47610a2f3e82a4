"""The page of /docs: every address in it is relative, so that it works behind any prefix, and without a network."""

from pathlib import Path

import fastapi_offline
from fastapi import APIRouter
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles

FILES_PATH = "/static-offline-docs"
# What fastapi-offline brings, and its own pages name by absolute paths.
FILES = StaticFiles(directory=Path(fastapi_offline.__file__).parent / "static")

pages = APIRouter(include_in_schema=False)


@pages.get("/docs")
async def docs() -> HTMLResponse:
    """Swagger's page of the interface."""
    files = FILES_PATH.removeprefix("/")
    return get_swagger_ui_html(
        openapi_url="openapi.json",
        title="fpn-serve",
        swagger_js_url=f"{files}/swagger-ui-bundle.js",
        swagger_css_url=f"{files}/swagger-ui.css",
        swagger_favicon_url=f"{files}/favicon.png",
    )
