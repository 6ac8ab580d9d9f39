"""Routes: the state of the topics over REST, where that is served, for the console and for people."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from mlsrv.authorization import requires
from mlsrv.kernel_api import KernelAPI
from mlsrv_kafka.state import Reader

PATH = "/v2/kafka"


def state_route(kernel: KernelAPI) -> Route:
    """Return the route that tells which topics are read, and how far."""
    reader = kernel.shared.get(Reader, Reader)

    @requires("metadata")
    async def state(request: Request) -> JSONResponse:
        """Answer the state of the topics."""
        return JSONResponse(reader.state())

    return Route(PATH, state)
