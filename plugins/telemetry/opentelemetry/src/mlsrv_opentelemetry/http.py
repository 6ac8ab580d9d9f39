"""HTTP spans: one for each request, by OpenTelemetry's semantic conventions for HTTP servers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from opentelemetry.context import Context, get_current
from opentelemetry.trace import Span, SpanKind, StatusCode, get_current_span

from mlsrv_opentelemetry.propagation import HEADERS
from mlsrv_opentelemetry.tracing import Tracing

_KNOWN = frozenset({"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"})
_TRACE = frozenset(name.encode() for name in HEADERS)


class TracedApp:
    """ASGI middleware that makes a span for each request.

    The span is put into the request headers as if the caller had sent it, so a `CallContext` made from them
    continues it. If the application is mounted in another one with a span in the caller's trace, that span is
    continued.

    Health checks have no span: they are frequent and carry no information.
    """

    def __init__(self, app: Any, tracing: Tracing) -> None:
        self._app = app
        self._tracing = tracing

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or _is_health(scope["path"]):
            await self._app(scope, receive, send)
            return
        headers = scope["headers"]
        given = {name.decode(): value.decode("latin-1") for name, value in headers if name in _TRACE}
        within, kind = get_current(), SpanKind.SERVER
        if within and _continues(within, given):
            given, kind = {}, SpanKind.INTERNAL
        span, found = self._tracing.begin(_method(scope), given, within, kind)
        if found is not given:
            own = [(name.encode(), value.encode("latin-1")) for name, value in found.items()]
            scope = {**scope, "headers": [*(pair for pair in headers if pair[0] not in _TRACE), *own]}
        if span is None:
            await self._app(scope, receive, send)
        else:
            await self._recorded(span, scope, receive, send)

    async def _recorded(self, span: Span, scope: Any, receive: Any, send: Any) -> None:
        status = 0

        async def noting(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        span.set_attributes(_attributes(scope))
        try:
            await self._app(scope, receive, noting)
        except BaseException as error:
            span.set_attribute("error.type", type(error).__name__)
            span.set_status(StatusCode.ERROR)
            raise
        finally:
            _conclude(span, scope, status)
            span.end()


def _continues(within: Context, given: Mapping[str, str]) -> bool:
    """Return whether there is an enclosing span, and it is in the trace that the caller named, if any."""
    around = get_current_span(within).get_span_context()
    trace = f"{around.trace_id:032x}"
    return around.is_valid and trace in given.get("traceparent", trace)


def _conclude(span: Span, scope: Any, status: int) -> None:
    """Set the attributes that are known at the end. A client that disconnected got no status."""
    route = scope.get("mlsrv.route")
    if route is not None:
        span.update_name(f"{_method(scope)} {route}")
        span.set_attribute("http.route", route)
    if status:
        span.set_attribute("http.response.status_code", status)
    if status >= 500:
        span.set_attribute("error.type", str(status))
        span.set_status(StatusCode.ERROR)


def _attributes(scope: Any) -> dict[str, str | int]:
    found: dict[str, str | int] = {
        "http.request.method": scope["method"] if scope["method"] in _KNOWN else "_OTHER",
        "url.path": scope["path"],
        "url.scheme": scope.get("scheme", "http"),
        "network.protocol.version": scope.get("http_version", "1.1"),
    }
    if scope.get("query_string"):
        found["url.query"] = scope["query_string"].decode("latin-1")
    for prefix, address in (("server", scope.get("server")), ("client", scope.get("client"))):
        if address:
            found[f"{prefix}.address"] = str(address[0])
            if address[1]:
                found[f"{prefix}.port"] = int(address[1])
    agent = _first(scope["headers"], b"user-agent")
    return found if agent is None else found | {"user_agent.original": agent.decode("latin-1")}


def _first(headers: Iterable[tuple[bytes, bytes]], wanted: bytes) -> bytes | None:
    return next((value for name, value in headers if name == wanted), None)


def _method(scope: Any) -> str:
    return str(scope["method"]) if scope["method"] in _KNOWN else "HTTP"


def _is_health(path: str) -> bool:
    return path.endswith(("/ready", "/live"))
