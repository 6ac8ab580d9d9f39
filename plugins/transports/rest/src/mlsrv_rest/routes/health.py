"""Health: liveness and readiness of the server, readiness of a model.

Source: Open Inference Protocol, "Health".
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mlsrv.authorization import requires
from mlsrv.errors import ModelNotReady
from mlsrv.kernel_api import KernelAPI
from mlsrv_rest.routes.common import PRINCIPAL, json_response, model_and_version


class Health:
    """Health endpoints. What is not ready is 503 with the reason."""

    def __init__(self, kernel: KernelAPI) -> None:
        self._kernel = kernel

    @requires("health")
    async def live(self, request: Request) -> Response:
        """Answer ``{"live": true}`` as long as the process answers."""
        return json_response({"live": True})

    @requires("health")
    async def ready(self, request: Request) -> Response:
        """Answer ``{"ready": true, "live": true}`` once every model that should be loaded is loaded."""
        problems = self._kernel.problems()
        if problems:
            principal = request.scope[PRINCIPAL]
            may_know = principal is None or "*" in principal.rights.get("metadata", ())
            text = " ".join(problems) if may_know else "The server is not ready."
            return json_response({"ready": False, "live": True, "error": text}, 503)
        return json_response({"ready": True, "live": True})

    @requires("health")
    async def model_ready(self, request: Request) -> Response:
        """Answer ``{"name": …, "ready": true}``; an unknown model is 404."""
        name, version = model_and_version(request)
        handle = self._kernel.handle(name, version)
        if handle.ready:
            return json_response({"name": name, "ready": True})
        reason = ModelNotReady.of(name, version, handle.state.value, handle.problem or "")
        return json_response({"name": name, "ready": False, "error": str(reason)}, 503)

    def routes(self) -> list[Route]:
        """Return the routes of this group."""
        return [
            Route("/v2/health/live", self.live),
            Route("/v2/health/ready", self.ready),
            Route("/v2/models/{model}/ready", self.model_ready),
            Route("/v2/models/{model}/versions/{version}/ready", self.model_ready),
        ]
