"""Hook specifications: hooks that this plugin adds to those of the kernel."""

# mypy: disable-error-code="empty-body"
# A specification has a signature and a docstring, but no body.

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from mlsrv.plugins.markers import hookspec

if TYPE_CHECKING:
    from starlette.routing import BaseRoute
    from starlette.types import ASGIApp

    from mlsrv.kernel_api import KernelAPI


@hookspec
def mlsrv_rest_routes(kernel: KernelAPI) -> BaseRoute | Iterable[BaseRoute]:
    """Add routes to the REST application, beside those of the protocol.

    Called once for each application that is made (once when the transport starts, once for each
    `create_app`), in the main process. The paths are those below the root path. A request's body has been
    read and unpacked before the endpoint runs, within the limits of the settings; an
    `mlsrv.errors.MLSrvError` or a Starlette ``HTTPException`` that an endpoint raises is answered in the
    protocol's error form. Two plugins with the same path and method stop the start.

    An endpoint says which right it needs with `mlsrv.authorization.requires`, else it needs ``admin``; a
    ``{model}`` in its path is the model that the right must cover. ``request.scope["mlsrv.principal"]`` is
    who asks, for ``CallContext(principal=…)``: the kernel checks the model of each request with it.

    An endpoint that asks models has the call of REST in ``request.scope["mlsrv_rest.call"]``: its
    ``begin(headers)`` returns the context of a request, with principal, deadline and trace, and ``await
    call.wait_for(context, answer)`` the answer, cancelled when the client leaves.

    Args:
        kernel: the kernel; models are still loading when the hook is called.

    Returns:
        One Starlette route or several. None means none.

    Example:
        >>> import asyncio, mlsrv, mlsrv_rest.plugin
        >>> class Plugin:
        ...     @mlsrv.hookimpl
        ...     def mlsrv_rest_routes(self, kernel):
        ...         from starlette.responses import JSONResponse
        ...         from starlette.routing import Route
        ...         async def count(request):
        ...             return JSONResponse({"models": len(kernel.model_names())})
        ...         return Route("/count", count)
        >>> kernel = mlsrv.Kernel(plugins=[mlsrv_rest.plugin, Plugin()], discover=False)
        >>> async def main():
        ...     import httpx
        ...     app = httpx.ASGITransport(mlsrv_rest.create_app(kernel))
        ...     async with kernel, httpx.AsyncClient(transport=app, base_url="http://test") as client:
        ...         return (await client.get("/count")).json()
        >>> asyncio.run(main())
        {'models': 0}
    """


@hookspec
def mlsrv_rest_middleware(kernel: KernelAPI) -> Callable[[ASGIApp], ASGIApp]:
    """Put ASGI middleware around the REST application, for example to trace requests or to admit them.

    Called once for each application that is made (once when the transport starts, once for each
    `create_app`), in the main process. The middleware sees every HTTP request before any of it is read;
    in the scope that it passes on, the application sets ``"mlsrv.route"`` once it knows it: the path with
    ``{model}`` and ``{version}`` for the names in it, or None for an unknown path.

    Args:
        kernel: the kernel; models are still loading when the hook is called.

    Returns:
        A function that takes an ASGI application and returns one. The middleware of plugins whose names sort
        first is outermost. None means none.

    Example:
        >>> import asyncio, mlsrv, mlsrv_rest.plugin
        >>> class Plugin:
        ...     @mlsrv.hookimpl
        ...     def mlsrv_rest_middleware(self, kernel):
        ...         def wrap(app):
        ...             async def print_route(scope, receive, send):
        ...                 await app(scope, receive, send)
        ...                 print(scope["method"], scope.get("mlsrv.route"))
        ...             return print_route
        ...         return wrap
        >>> kernel = mlsrv.Kernel(plugins=[mlsrv_rest.plugin, Plugin()], discover=False)
        >>> async def main():
        ...     import httpx
        ...     app = httpx.ASGITransport(mlsrv_rest.create_app(kernel))
        ...     async with kernel, httpx.AsyncClient(transport=app, base_url="http://test") as client:
        ...         await client.get("/v2/models/iris/versions/3/ready")
        >>> asyncio.run(main())
        GET /v2/models/{model}/versions/{version}/ready
    """
