"""Metadata: descriptions of the server and its models.

Source: Open Inference Protocol, "Server Metadata" and "Model Metadata"; the list of models is KServe's.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mlsrv.authorization import requires
from mlsrv.kernel_api import KernelAPI
from mlsrv_rest.routes.common import json_response, model_and_version, visible


class Metadata:
    """Metadata endpoints."""

    def __init__(self, kernel: KernelAPI) -> None:
        self._kernel = kernel

    @requires("metadata")
    async def server(self, request: Request) -> Response:
        """Answer name, version and extensions of the server."""
        return json_response(self._kernel.server_metadata())

    @requires("metadata")
    async def models(self, request: Request) -> Response:
        """Answer the names of all models, loaded or not."""
        return json_response({"models": visible(request, "metadata", self._kernel.model_names())})

    @requires("metadata")
    async def model(self, request: Request) -> Response:
        """Answer platform, versions, inputs and outputs of a loaded model."""
        return json_response(self._kernel.model_metadata(*model_and_version(request)))

    def routes(self) -> list[Route]:
        """Return the routes of this group."""
        return [
            Route("/v2", self.server),
            Route("/v2/models", self.models),
            Route("/v2/models/{model}", self.model),
            Route("/v2/models/{model}/versions/{version}", self.model),
        ]
