"""Routes: the drift of a model as JSON, and its new beginning."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from mlsrv.authorization import requires
from mlsrv_drift.monitor import Monitor
from mlsrv_drift.monitors import Monitors

if TYPE_CHECKING:
    from mlsrv.kernel_api import KernelAPI

PATHS = ("/v2/models/{model}/drift", "/v2/models/{model}/versions/{version}/drift")


def routes(kernel: KernelAPI) -> list[Route]:
    """Return the routes ``/v2/models/{model}/drift`` and ``…/drift/reset``, also for a version."""

    def find(request: Request) -> tuple[str, Monitor | None]:
        handle = kernel.handle(request.path_params["model"], request.path_params.get("version"))
        handle.loaded()
        return handle.name, kernel.shared.get(Monitors, Monitors).find(handle.name, handle.version)

    @requires("metadata")
    async def report(request: Request) -> JSONResponse:
        name, monitor = find(request)
        if monitor is None:
            return JSONResponse({"model": name, "watched": False})
        return JSONResponse({**monitor.report, "waiting": monitor.waiting, "dropped": monitor.dropped})

    @requires("repository")
    async def reset(request: Request) -> JSONResponse:
        name, monitor = find(request)
        if monitor is None:
            return JSONResponse({"error": f"Model {name} is not watched for drift."}, 400)
        monitor.reset()
        return JSONResponse({})

    return [
        *(Route(path, report) for path in PATHS),
        *(Route(f"{path}/reset", reset, methods=["POST"]) for path in PATHS),
    ]
