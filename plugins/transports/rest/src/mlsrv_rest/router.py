"""Everything but inference: Starlette's router, with errors in the protocol's form."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route

from mlsrv.errors import MLSrvError
from mlsrv_rest.errors import AnswerBroken, HTTPProblem, failure, phrase, unknown_path, wrong_method
from mlsrv_rest.paths import join
from mlsrv_rest.reply import Message, Receive, Scope, Send
from mlsrv_rest.routes.common import CALL, ROUTE, SEGMENTS


class Router:
    """Hands requests to the endpoints of the protocol and of plugins.

    Args:
        routes: what there is.
        prefix: under which a proxy publishes the application; part of the URLs that endpoints make.
    """

    def __init__(self, routes: Sequence[BaseRoute], prefix: str = "") -> None:
        self._prefix = prefix
        # Endpoints find this application as `request.app`; its own error middleware is not used, because it
        # cannot be told to leave failures to the caller.
        self._app = Starlette(routes=routes)
        self._app.router.redirect_slashes = False
        self._stack = ExceptionMiddleware(
            self._app.router,
            handlers={HTTPException: self._http_exception, MLSrvError: _expected, HTTPProblem: _expected},
        )

    async def __call__(
        self, scope: Scope, segments: list[str], body: bytes | bytearray, receive: Receive, send: Send
    ) -> None:
        """Let the endpoint that fits answer a request whose body has been read.

        Raises:
            AnswerBroken: the endpoint failed after its answer began; the cause is what it raised.
            Exception: it failed before.
        """
        path = join(segments)
        if not path.isprintable():
            raise unknown_path(repr(path))
        root = str(scope.get("root_path") or "").rstrip("/") + self._prefix
        inner = {**scope, "root_path": root, "path": root + path, "app": self._app, SEGMENTS: segments}
        for left_by_an_outer_application in ("router", "app_root_path", "path_params", "endpoint", "route"):
            inner.pop(left_by_an_outer_application, None)
        started = False

        async def sender(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._stack(inner, _replay(body, receive), sender)
        except (Exception, asyncio.CancelledError) as error:
            if started:
                raise AnswerBroken from error
            raise
        finally:
            scope[ROUTE] = self._route(inner, path)

    async def _http_exception(self, request: Request, error: Exception) -> Response:
        """What Starlette, or an endpoint in its way, raised: said in the protocol's form."""
        if not isinstance(error, HTTPException):
            raise error
        if error.status_code == 404 and "endpoint" not in request.scope:
            return _expected(request, unknown_path(request.scope["path"]))
        if error.status_code == 405:
            return _expected(request, wrong_method(request.method, self._allowed(request.scope)))
        headers = tuple(
            (name.lower().encode("latin-1"), value.encode("latin-1"))
            for name, value in (error.headers or {}).items()
        )
        text = str(error.detail) or phrase(error.status_code)
        return _expected(request, HTTPProblem(error.status_code, text, headers))

    def _route(self, scope: Scope, path: str) -> str | None:
        """What was matched, with names for what varies."""
        if ROUTE in scope or "endpoint" not in scope:
            return scope.get(ROUTE)
        endpoint = scope["endpoint"]
        routes = [
            route for route in self._app.routes if isinstance(route, Route) and route.endpoint is endpoint
        ]
        return next((route.path for route in routes if route.path_regex.match(path)), None)

    def _allowed(self, scope: Scope) -> set[str]:
        allowed: set[str] = set()
        for route in self._app.routes:
            if isinstance(route, Route) and route.methods and route.matches(scope)[0] is not Match.NONE:
                allowed |= route.methods
        return allowed


def _expected(request: Request, error: Exception) -> Response:
    reply = failure(error, request.scope[CALL].asked)
    response = Response(reply.body, reply.status)
    response.raw_headers = reply.headers
    return response


def _replay(body: bytes | bytearray, receive: Receive) -> Receive:
    """A `receive` for an endpoint: the body at once, then whatever the client does."""
    unread = True

    async def again() -> Message:
        nonlocal unread
        if unread:
            unread = False
            return {"type": "http.request", "body": bytes(body), "more_body": False}
        return await receive()

    return again
