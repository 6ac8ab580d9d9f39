"""Custom handlers: routes of models, below the path of their model or at the root of the server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match
from starlette.types import Receive, Scope, Send

from mlsrv.errors import ModelNotFound
from mlsrv.handlers import HandlerRequest, Reply, find_handler
from mlsrv.kernel_api import KernelAPI
from mlsrv_rest.errors import HTTPProblem, wrong_method
from mlsrv_rest.headers import response_headers
from mlsrv_rest.routes.common import CALL, PRINCIPAL, ROUTE, SEGMENTS, begin_context

_TARGET = "mlsrv_rest.handler"


class _Target(NamedTuple):
    """Handler of a model that a path matches.

    Attributes:
        model: its name.
        version: as the path has it.
        method: name of the handler's method; None if the path takes other verbs only.
        values: of the path's parameters.
        verbs: that the path takes.
        is_shared: whether other models may offer the same path.
        route: the path with placeholders.
    """

    model: str
    version: str | None
    method: str | None
    values: dict[str, str]
    verbs: set[str]
    is_shared: bool
    route: str | None


class _Ambiguous(NamedTuple):
    """Path at the root that several models share."""

    path: str
    models: list[str]
    route: None = None


class CustomHandlers(BaseRoute):
    """Single route for the handlers of all models, since models are loaded and unloaded."""

    def __init__(self, kernel: KernelAPI) -> None:
        self._kernel = kernel

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope["type"] != "http":
            return Match.NONE, {}
        target = self._find(scope[SEGMENTS][1:], scope["method"])
        if target is None:
            return Match.NONE, {}
        return Match.FULL, {_TARGET: target, "endpoint": self, ROUTE: target.route}

    def model_of(self, found: Mapping[str, Any]) -> str | None:
        """Return the model of what `matches` found; None if several models share the path."""
        target: _Target | _Ambiguous = found[_TARGET]
        return None if isinstance(target, _Ambiguous) else target.model

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        target: _Target | _Ambiguous = scope[_TARGET]
        if isinstance(target, _Ambiguous):
            principal = scope[PRINCIPAL]
            models = target.models if principal is None else principal.visible("infer", target.models)
            raise _ambiguous_path(target.path, models)
        if target.method is None:
            raise wrong_method(scope["method"], target.verbs)
        request = Request(scope, receive)
        context = begin_context(request)
        handler_request = HandlerRequest(
            await request.body(), context.headers, dict(request.query_params), target.values
        )
        answer = self._kernel.call(target.model, target.version, target.method, handler_request, context)
        reply: Reply = await scope[CALL].wait_for(context, answer)
        response = Response(reply.body, reply.status, media_type=reply.headers.get("content-type"))
        response.raw_headers.extend(response_headers(dict(reply.headers)))
        await response(scope, receive, send)

    def _find(self, segments: list[str], verb: str) -> _Target | _Ambiguous | None:
        if segments[:2] == ["v2", "models"] and len(segments) > 3:
            name, rest = segments[2], segments[3:]
            if rest[0] == "versions" and len(rest) > 2:
                return self._of_model(name, rest[1], verb, rest[2:])
            return self._of_model(name, None, verb, rest)
        return self._at_root(segments, verb)

    def _at_root(self, segments: list[str], verb: str) -> _Target | _Ambiguous | None:
        names = self._kernel.model_names()
        found = [self._of_model(name, None, verb, segments, root=True) for name in names]
        targets = [target for target in found if target is not None]
        matching = [target for target in targets if target.method is not None]
        exclusive = [target for target in matching if not target.is_shared]
        if len(matching) > 1 and not exclusive:
            return _Ambiguous("/".join(["", *segments]), [target.model for target in matching])
        return next(iter(exclusive or matching or targets), None)

    def _of_model(
        self, name: str, version: str | None, verb: str, segments: list[str], *, root: bool = False
    ) -> _Target | None:
        try:
            info = self._kernel.handle(name, version).info
        except ModelNotFound:
            return None
        handlers = info.handlers if info else {}
        method, values, verbs = find_handler(handlers, verb, segments, root=root)
        is_shared = method is None or handlers[method].shared
        if not verbs:
            return None
        prefix = "" if root else "/v2/models/{model}" + ("/versions/{version}" if version else "")
        route = prefix + handlers[method].rest_path if method is not None else None
        return _Target(name, version, method, values, verbs, is_shared, route)


def _ambiguous_path(path: str, models: list[str]) -> HTTPProblem:
    return HTTPProblem(
        404, f"Several models offer {path}: {', '.join(models)}; ask one of them, at /v2/models/NAME{path}."
    )
