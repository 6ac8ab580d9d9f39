"""Custom handlers of models: below the path of their model, or at the root of the server where they ask for
it."""

from __future__ import annotations

from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match
from starlette.types import Receive, Scope, Send

from mlsrv.context import CallContext
from mlsrv.errors import ModelNotFound
from mlsrv.handlers import HandlerRequest, Reply, find_handler
from mlsrv.kernel import Kernel
from mlsrv_rest.errors import wrong_method
from mlsrv_rest.headers import deadline_of, response_headers, trace_of
from mlsrv_rest.routes.requests import SEGMENTS

_FOUND = "mlsrv_rest.handler"


class _Target(NamedTuple):
    """What a path leads to: a handler of a model, or only other verbs."""

    model: str
    version: str | None
    method: str | None
    values: dict[str, str]
    verbs: set[str]


class CustomHandlers(BaseRoute):
    """One route for all of them, since models come and go."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope["type"] != "http":
            return Match.NONE, {}
        target = self._find(scope[SEGMENTS][1:], scope["method"])
        return (Match.NONE, {}) if target is None else (Match.FULL, {_FOUND: target, "endpoint": self})

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        target: _Target = scope[_FOUND]
        if target.method is None:
            raise wrong_method(scope["method"], target.verbs)
        request = Request(scope, receive)
        headers = dict(request.headers)
        asked = HandlerRequest(await request.body(), headers, dict(request.query_params), target.values)
        context = CallContext(
            deadline=deadline_of(headers), headers=headers, trace=trace_of(headers), transport="rest"
        )
        reply: Reply = await self._kernel.call(target.model, target.version, target.method, asked, context)
        answer = Response(reply.body, reply.status, media_type=reply.headers.get("content-type"))
        answer.raw_headers.extend(response_headers(dict(reply.headers)))
        await answer(scope, receive, send)

    def _find(self, segments: list[str], verb: str) -> _Target | None:
        if segments[:2] == ["v2", "models"] and len(segments) > 3:
            name, rest = segments[2], segments[3:]
            if rest[0] == "versions" and len(rest) > 2:
                return self._of_model(name, rest[1], verb, rest[2:])
            return self._of_model(name, None, verb, rest)
        for name in self._kernel.model_names():
            target = self._of_model(name, None, verb, segments, root=True)
            if target is not None:
                return target
        return None

    def _of_model(
        self, name: str, version: str | None, verb: str, segments: list[str], *, root: bool = False
    ) -> _Target | None:
        try:
            info = self._kernel.handle(name, version).info
        except ModelNotFound:
            return None
        method, values, verbs = find_handler(info.handlers if info else {}, verb, segments, root=root)
        return _Target(name, version, method, values, verbs) if verbs else None
