"""The page at /: photographs in, detections and every level's proposals drawn over them.

Its files lie beside this module and are sent as they are: nothing is built, and nothing is fetched from elsewhere.
Every address in them is relative, so that the page also works under a prefix.
"""

from pathlib import Path

from fastapi import APIRouter, HTTPException, Response
from starlette.responses import FileResponse

FOLDER = Path(__file__).parent
# Only these can be asked for, whatever a path says.
MEDIA_TYPES = {
    "canvas.js": "text/javascript",
    "icon.svg": "image/svg+xml",
    "page.css": "text/css",
    "page.js": "text/javascript",
    "server.js": "text/javascript",
    "shown.js": "text/javascript",
    "sidebar.js": "text/javascript",
}
# What the page may do: run and fetch what comes from here, and nothing else. Photographs never become elements.
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    # Another version of the server must not meet the scripts of this one.
    "cache-control": "no-cache",
}

router = APIRouter(include_in_schema=False)


@router.get("/")
async def index() -> Response:
    """The page itself."""
    return FileResponse(FOLDER / "index.html", headers=HEADERS, media_type="text/html")


@router.get("/page/{name}")
async def part(name: str) -> Response:
    """A script, the style or the icon of the page."""
    if name not in MEDIA_TYPES:
        raise HTTPException(404)
    return FileResponse(FOLDER / name, headers=HEADERS, media_type=MEDIA_TYPES[name])
