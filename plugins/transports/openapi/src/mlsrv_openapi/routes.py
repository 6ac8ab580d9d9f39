"""Routes: pages, documents and assets."""

from __future__ import annotations

import base64
import hashlib
import html
import json
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.routing import Route

from mlsrv.authorization import requires
from mlsrv.kernel_api import KernelAPI
from mlsrv_openapi.document import model_document, server_document

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="icon" href="{assets}/favicon-32x32.png">
<link rel="stylesheet" href="{assets}/swagger-ui.css">
<style>body {{ margin: 0 }} .scheme-container {{ display: none }}</style>
</head>
<body>
<div id="docs"></div>
<script src="{assets}/swagger-ui-bundle.js"></script>
<script>{script}</script>
</body>
</html>
"""
_SCRIPT = """
SwaggerUIBundle({
  url: "docs/dataplane.json",
  dom_id: "#docs",
  deepLinking: true,
  defaultModelsExpandDepth: 0,
  validatorUrl: null
});
"""
_SCRIPT_HASH = base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode()
_PRINCIPAL = "mlsrv.principal"
_NO_SNIFFING = {"x-content-type-options": "nosniff"}
# Swagger UI sets styles of elements and has images in its style sheet.
_PAGE_HEADERS = {
    **_NO_SNIFFING,
    "content-security-policy": f"default-src 'none'; script-src 'self' 'sha256-{_SCRIPT_HASH}'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
}
_ASSETS = {
    "favicon-32x32.png": "image/png",
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
}


class Documentation:
    """Endpoints. Documents are made for each request, since models are loaded and unloaded."""

    def __init__(self, kernel: KernelAPI) -> None:
        self._kernel = kernel
        self._folder = assets_folder()

    @requires("docs")
    async def page(self, request: Request) -> Response:
        """Answer Swagger UI of the server."""
        return _page(self._kernel.server_metadata().name, "docs/assets")

    @requires("docs")
    async def document(self, request: Request) -> Response:
        """Answer the document of the server."""
        metadata = self._kernel.server_metadata()
        names = self._kernel.model_names()
        principal = request.scope.get(_PRINCIPAL)
        if principal is not None:
            names = principal.visible("docs", names)
        return _json(server_document(metadata.name, metadata.version, names, "../.."))

    @requires("docs")
    async def model_page(self, request: Request) -> Response:
        """Answer Swagger UI of a model."""
        name, version = _model_and_version(request)
        self._kernel.handle(name, version)
        root = "../../../.." if version is not None else "../.."
        return _page(f"Model {name}", f"{root}/docs/assets")

    @requires("docs")
    async def model_document(self, request: Request) -> Response:
        """Answer the document of a model."""
        name, version = _model_and_version(request)
        metadata = self._kernel.model_metadata(name, version)
        info = self._kernel.handle(name, version).info
        handlers = info.handlers if info is not None else {}
        root = "../../../../../.." if version is not None else "../../../.."
        version = None if version is None else quote(version, safe="")
        return _json(model_document(metadata, version, quote(name, safe=""), root, handlers))

    @requires("docs")
    async def asset(self, request: Request) -> Response:
        """Answer a file of Swagger UI."""
        name = request.path_params["file"]
        if name not in _ASSETS:
            raise HTTPException(404, f"There is no asset {name[:60]}.")
        headers = {"cache-control": "public, max-age=86400", **_NO_SNIFFING}
        return FileResponse(self._folder / name, media_type=_ASSETS[name], headers=headers)

    def routes(self) -> list[Route]:
        """Return the routes of all endpoints."""
        found = [
            Route("/v2/docs", self.page),
            Route("/v2/docs/dataplane.json", self.document),
            Route("/v2/docs/assets/{file}", self.asset),
        ]
        for path in ("/v2/models/{model}", "/v2/models/{model}/versions/{version}"):
            found.append(Route(f"{path}/docs", self.model_page))
            found.append(Route(f"{path}/docs/dataplane.json", self.model_document))
        return found


def assets_folder() -> Path:
    """Return the folder with the files of Swagger UI. Its package is located without being imported, because
    it would import a web framework.

    Raises:
        ImportError: it is not installed.
    """
    spec = find_spec("flask_swagger_ui")
    if spec is None or spec.origin is None:
        raise ImportError("mlsrv-openapi needs flask-swagger-ui (pip install flask-swagger-ui)")
    return Path(spec.origin).parent / "dist"


def _model_and_version(request: Request) -> tuple[str, str | None]:
    # An encoded slash stays encoded: no model name contains one, so the model is unknown either way.
    return request.path_params["model"], request.path_params.get("version")


def _page(title: str, assets: str) -> Response:
    page = _PAGE.format(title=html.escape(title), assets=assets, script=_SCRIPT)
    return HTMLResponse(page, headers=_PAGE_HEADERS)


def _json(document: object) -> Response:
    return Response(json.dumps(document), media_type="application/json", headers=_NO_SNIFFING)
