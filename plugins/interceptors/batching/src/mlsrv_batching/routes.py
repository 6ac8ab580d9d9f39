"""Routes: the state of a model's batcher as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from mlsrv.authorization import requires
from mlsrv.errors import ModelNotFound
from mlsrv_batching.batcher import Batcher

if TYPE_CHECKING:
    from mlsrv.kernel_api import KernelAPI


def routes(kernel: KernelAPI) -> list[Route]:
    """Return ``GET /v2/models/{model}/batching``, also for a version: settings, queue and last decisions."""

    @requires("metadata")
    async def explain(request: Request) -> JSONResponse:
        parameters = request.path_params
        try:
            instance = kernel.handle(parameters["model"], parameters.get("version")).loaded()
        except ModelNotFound as error:
            return JSONResponse({"error": str(error)}, 404)
        batchers = [found for found in instance.interceptors if isinstance(found, Batcher)]
        if not batchers:
            return JSONResponse({"model": instance.settings.name, "batching": False})
        return JSONResponse(batchers[0].explain())

    paths = ("/v2/models/{model}/batching", "/v2/models/{model}/versions/{version}/batching")
    return [Route(path, explain) for path in paths]
