"""Statistics: statistics and configurations of models.

Source: Triton's "Statistics Extension" and "Model Configuration Extension".
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mlsrv.authorization import requires
from mlsrv.kernel_api import KernelAPI
from mlsrv_protocol.configuration import model_configuration
from mlsrv_rest.routes.common import json_response, model_and_version, visible
from mlsrv_transport_kit import statistics_of


class Statistics:
    """Endpoints for statistics and configurations."""

    def __init__(self, kernel: KernelAPI) -> None:
        self._kernel = kernel

    @requires("metadata")
    async def all(self, request: Request) -> Response:
        """Answer the statistics of every version of every model."""
        found = await statistics_of(self._kernel)
        seen = set(visible(request, "metadata", [statistics["name"] for statistics in found]))
        return json_response({"model_stats": [one for one in found if one["name"] in seen]})

    @requires("metadata")
    async def model(self, request: Request) -> Response:
        """Answer the statistics of all versions of a model, or of one."""
        return json_response({"model_stats": await statistics_of(self._kernel, *model_and_version(request))})

    @requires("metadata")
    async def config(self, request: Request) -> Response:
        """Answer the fields of the configuration that clients read."""
        name, version = model_and_version(request)
        metadata = self._kernel.model_metadata(name, version)
        instance = self._kernel.handle(name, version).loaded()
        info = instance.placement.info
        return json_response(
            model_configuration(
                metadata,
                max_batch_size=getattr(instance.settings, "max_batch_size", 0),
                decoupled=info.streams and not info.predicts,
            )
        )

    def routes(self) -> list[Route]:
        """Return the routes of this group."""
        found = [Route("/v2/models/stats", self.all)]
        for path in ("/v2/models/{model}", "/v2/models/{model}/versions/{version}"):
            found += [Route(f"{path}/stats", self.model), Route(f"{path}/config", self.config)]
        return found
