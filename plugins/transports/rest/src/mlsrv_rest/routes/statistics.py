"""Statistics and configurations of models. Source: Triton's "Statistics Extension" and "Model Configuration
Extension"."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mlsrv.kernel import Kernel
from mlsrv_protocol.configuration import model_configuration
from mlsrv_rest.routes.common import json, model_of


class Statistics:
    """What models have done, and how they are configured."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    async def all(self, request: Request) -> Response:
        """Every version of every model."""
        return json({"model_stats": self._kernel.statistics()})

    async def model(self, request: Request) -> Response:
        """All versions of a model, or one."""
        return json({"model_stats": self._kernel.statistics(*model_of(request))})

    async def config(self, request: Request) -> Response:
        """The fields of a configuration that clients read."""
        name, version = model_of(request)
        metadata = self._kernel.model_metadata(name, version)
        instance = self._kernel.handle(name, version).loaded()
        info = instance.placement.info
        return json(
            model_configuration(
                metadata,
                max_batch_size=getattr(instance.settings, "max_batch_size", 0),
                decoupled=info.streams and not info.predicts,
            )
        )

    def routes(self) -> list[Route]:
        found = [Route("/v2/models/stats", self.all)]
        for path in ("/v2/models/{model}", "/v2/models/{model}/versions/{version}"):
            found += [Route(f"{path}/stats", self.model), Route(f"{path}/config", self.config)]
        return found
