"""Is the server alive, is it ready, is a model ready. Source: Open Inference Protocol, "Health"."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mlsrv.errors import ModelNotReady
from mlsrv.kernel import Kernel
from mlsrv_rest.routes.common import json, model_of


class Health:
    """The three questions. A "no" is 503 with the reason."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    async def live(self, request: Request) -> Response:
        """``{"live": true}`` as long as anything answers at all."""
        return json({"live": True})

    async def ready(self, request: Request) -> Response:
        """``{"ready": true, "live": true}`` once every model that should be loaded is."""
        problems = self._kernel.problems()
        if problems:
            return json({"ready": False, "live": True, "error": " ".join(problems)}, 503)
        return json({"ready": True, "live": True})

    async def model_ready(self, request: Request) -> Response:
        """``{"name": …, "ready": true}``; an unknown model is 404."""
        name, version = model_of(request)
        handle = self._kernel.handle(name, version)
        if handle.ready:
            return json({"name": name, "ready": True})
        reason = ModelNotReady.of(name, version, handle.state.value, handle.problem or "")
        return json({"name": name, "ready": False, "error": str(reason)}, 503)

    def routes(self) -> list[Route]:
        return [
            Route("/v2/health/live", self.live),
            Route("/v2/health/ready", self.ready),
            Route("/v2/models/{model}/ready", self.model_ready),
            Route("/v2/models/{model}/versions/{version}/ready", self.model_ready),
        ]
