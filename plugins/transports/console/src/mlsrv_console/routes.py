"""Routes: the page of the console, its assets, and the gauges. All else comes from the REST API."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from mlsrv.authorization import requires
from mlsrv_console.gauges import read_gauges

if TYPE_CHECKING:
    from mlsrv.kernel_api import KernelAPI

ASSETS = Path(__file__).with_name("assets")
PAGE = "console.html"
_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data: blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
}


# The files are the same on every server and tell nothing of this one; a browser cannot send a key for them.
# Each call that they make to the API is authorized like that of any other client.
@requires("health")
async def page(request: Request) -> Response:
    """Answer the page."""
    return FileResponse(ASSETS / PAGE, media_type="text/html; charset=utf-8", headers=_HEADERS)


@requires("health")
async def asset(request: Request) -> Response:
    """Answer a style sheet, a script or a picture of the page."""
    name = request.path_params["file"]
    path = ASSETS / name
    kind = _TYPES.get(path.suffix)
    if kind is None or path.parent != ASSETS or not path.is_file():
        raise HTTPException(404, f"There is no asset {name[:60]}.")
    return FileResponse(path, media_type=kind, headers=_HEADERS)


def routes(kernel: KernelAPI) -> list[Route]:
    """Return the routes of the console."""

    @requires("metrics")
    async def gauges(request: Request) -> Response:
        """Answer the gauges of the server now."""
        return JSONResponse({"gauges": read_gauges(kernel)}, headers={"cache-control": "no-store"})

    return [
        Route("/v2/console", page),
        Route("/v2/console/gauges", gauges),
        Route("/v2/console/{file}", asset),
    ]
