"""What the server and its models are. Source: Open Inference Protocol, "Server Metadata" and "Model
Metadata"; the list of models is KServe's."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mlsrv.kernel import Kernel
from mlsrv_rest.routes.common import json, model_of


class Metadata:
    """Descriptions, as JSON objects."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    async def server(self, request: Request) -> Response:
        """Name, version and extensions."""
        return json(self._kernel.server_metadata())

    async def models(self, request: Request) -> Response:
        """The names of all models, loaded or not."""
        return json({"models": self._kernel.model_names()})

    async def model(self, request: Request) -> Response:
        """Platform, versions, inputs and outputs of a loaded model."""
        return json(self._kernel.model_metadata(*model_of(request)))

    def routes(self) -> list[Route]:
        return [
            Route("/v2", self.server),
            Route("/v2/models", self.models),
            Route("/v2/models/{model}", self.model),
            Route("/v2/models/{model}/versions/{version}", self.model),
        ]
