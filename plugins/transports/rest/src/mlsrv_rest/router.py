"""Router: Starlette's router for every path but inference, with errors in the protocol's form."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping, Sequence
from typing import Any, NamedTuple

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route

from mlsrv.authorization import Action, action_of, is_marked
from mlsrv.errors import MLSrvError
from mlsrv_rest.asgi import Message, Receive, Scope, Send
from mlsrv_rest.errors import (
    HTTPProblem,
    ResponseInterrupted,
    error_to_response,
    phrase,
    unknown_path,
    wrong_method,
)
from mlsrv_rest.paths import infer_route, join
from mlsrv_rest.routes.common import CALL, ROUTE, SEGMENTS
from mlsrv_rest.routes.handlers import CustomHandlers

_DOCS = "/v2/docs"
_MODEL = "{model}"
_ENTRANCES = ("/", "/docs")
"""Paths that people try first, in a browser."""
_PREDICT = ("/predict", ":predict")
"""Ends of the paths at which models of other servers answer."""


class RouteRight(NamedTuple):
    """The right that a route needs.

    Attributes:
        methods: that it takes; ``*`` for any.
        path: with placeholders.
        action: that the right must allow; None for any known principal.
        is_marked: whether the endpoint says so; one that does not is ``admin``.
    """

    methods: tuple[str, ...]
    path: str
    action: Action | None
    is_marked: bool


class Router:
    """Dispatches requests to the endpoints of the protocol and of plugins.

    Args:
        routes: of the protocol and of plugins, in the order in which they are tried.
        control: those of them whose requests carry no tensors.
        prefix: under which a proxy publishes the application; part of the URLs that endpoints generate.
    """

    def __init__(self, routes: Sequence[BaseRoute], control: Sequence[Route] = (), prefix: str = "") -> None:
        self._prefix = prefix
        self._control = [route.path_regex for route in control]
        self._has_docs = any(isinstance(route, Route) and route.path == _DOCS for route in routes)
        # Endpoints find this application as `request.app`; its own error middleware is not used, because it
        # cannot be configured to leave errors to the caller.
        self._app = Starlette(routes=routes)
        self._app.router.redirect_slashes = False
        self._stack = ExceptionMiddleware(
            self._app.router,
            handlers={
                HTTPException: self._http_exception,
                MLSrvError: _respond,
                HTTPProblem: _respond,
            },
        )

    async def __call__(
        self, scope: Scope, segments: list[str], body: bytes | bytearray, receive: Receive, send: Send
    ) -> None:
        """Let the matching endpoint answer a request whose body has been read.

        Raises:
            ResponseInterrupted: the endpoint failed after its response began; the cause is its exception.
            Exception: the endpoint failed before its response began.
        """
        path = join(segments)
        if not path.isprintable():
            raise unknown_path(repr(path))
        root = str(scope.get("root_path") or "").rstrip("/") + self._prefix
        inner = {**scope, "root_path": root, "path": root + path, "app": self._app, SEGMENTS: segments}
        for key_of_outer_application in ("router", "app_root_path", "path_params", "endpoint", "route"):
            inner.pop(key_of_outer_application, None)
        started = False

        async def note_start(message: Message) -> None:
            nonlocal started
            await send(message)
            started = True

        try:
            await self._stack(inner, _replaying(body, receive), note_start)
        except (Exception, asyncio.CancelledError) as error:
            if started:
                raise ResponseInterrupted from error
            raise
        finally:
            scope[ROUTE] = self._route(inner, path)

    def needs(self, scope: Scope, segments: list[str]) -> tuple[Action | None, str | None]:
        """Return the action of a request, and the model that its path names, if it does.

        The action of an unknown path is None, below a model infer: custom handlers might be there, and who
        has no right to them must not find out.
        """
        path = join(segments)
        outline = {
            "type": "http",
            "method": scope["method"],
            "path": path,
            "root_path": "",
            "headers": scope["headers"],
            SEGMENTS: segments,
        }
        partial: tuple[Action | None, str | None] = None, None
        if segments[1:3] == ["v2", "models"] and len(segments) > 4:
            partial = "infer", segments[3]
        found = False
        for route in self._app.routes:
            match, inner = route.matches(outline)
            if match is Match.FULL:
                return _needs(route, inner, segments)
            if match is Match.PARTIAL and not found:
                partial, found = _needs(route, inner, segments), True
        return partial

    def rights(self) -> list[RouteRight]:
        """Return the right of each route, but those of custom handlers."""
        infer = [RouteRight(("POST",), infer_route(version), "infer", True) for version in (None, "1")]
        return infer + [
            RouteRight(
                tuple(sorted(getattr(route, "methods", None) or "*")),
                str(getattr(route, "path", "*")),
                action_of(_endpoint(route)),
                is_marked(_endpoint(route)),
            )
            for route in self._app.routes
            if not isinstance(route, CustomHandlers)
        ]

    def is_control(self, segments: list[str]) -> bool:
        """Return whether the path of a request belongs to the routes whose requests carry no tensors."""
        path = join(segments)
        return any(pattern.match(path) for pattern in self._control)

    async def _http_exception(self, request: Request, error: Exception) -> Response:
        """Return an ``HTTPException`` of Starlette or of an endpoint in the protocol's error form."""
        if not isinstance(error, HTTPException):
            raise error
        if error.status_code == 404 and "endpoint" not in request.scope:
            return _respond(request, self._unknown_path(request.scope))
        if error.status_code == 405:
            return _respond(request, wrong_method(request.method, self._allowed(request.scope)))
        headers = tuple(
            (name.lower().encode("latin-1"), value.encode("latin-1"))
            for name, value in (error.headers or {}).items()
        )
        text = str(error.detail) or phrase(error.status_code)
        return _respond(request, HTTPProblem(error.status_code, text, headers))

    def _unknown_path(self, scope: Scope) -> HTTPProblem:
        path, root = scope["path"], scope["root_path"]
        if path.endswith(_PREDICT):
            return unknown_path(path, f"models answer at {root}/v2/models/NAME/infer")
        if path.removeprefix(root) not in _ENTRANCES:
            return unknown_path(path)
        docs = f", its documentation is at {root}{_DOCS}" if self._has_docs else ""
        return unknown_path(path, f"the server describes itself at {root}/v2{docs}")

    def _route(self, scope: Scope, path: str) -> str | None:
        """Return the path of the matched route with placeholders for its variable parts, or None."""
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


def _endpoint(route: BaseRoute) -> object:
    return getattr(route, "endpoint", None) or getattr(route, "app", route)


def _needs(
    route: BaseRoute, inner: MutableMapping[str, Any], segments: list[str]
) -> tuple[Action | None, str | None]:
    if isinstance(route, CustomHandlers):
        return "infer", route.model_of(inner)
    action = action_of(_endpoint(route))
    parts = str(getattr(route, "path", "")).split("/")
    model = segments[parts.index(_MODEL)] if _MODEL in parts else None
    return action, model


def _respond(request: Request, error: Exception) -> Response:
    buffered = error_to_response(error, request.scope[CALL].request_context)
    response = Response(buffered.body, buffered.status)
    response.raw_headers = buffered.headers
    return response


def _replaying(body: bytes | bytearray, receive: Receive) -> Receive:
    """Return a `receive` for an endpoint: first the whole body, then the messages of the client."""
    unread = True

    async def replay() -> Message:
        nonlocal unread
        if unread:
            unread = False
            return {"type": "http.request", "body": bytes(body), "more_body": False}
        return await receive()

    return replay
