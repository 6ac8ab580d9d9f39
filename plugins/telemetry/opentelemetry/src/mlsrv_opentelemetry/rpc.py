"""gRPC spans: one for each call, by OpenTelemetry's semantic conventions for RPC servers."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import grpc.aio
from opentelemetry.trace import SpanKind, StatusCode

from mlsrv_opentelemetry.propagation import HEADERS
from mlsrv_opentelemetry.tracing import Tracing

_KINDS = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")
_UNTRACED = ("/grpc.health.", "/grpc.reflection.")
_HEALTH = ("/ServerLive", "/ServerReady", "/ModelReady")
_FAULTS = frozenset(
    {
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DATA_LOSS,
    }
)
"""Statuses that count as errors of the server."""


class TracedCalls(grpc.aio.ServerInterceptor):
    """gRPC interceptor that makes a span for each call.

    The span is put into the metadata as if the caller had sent it. Health checks, reflection and synchronous
    handlers of plugins have no span.
    """

    def __init__(self, tracing: Tracing) -> None:
        self._tracing = tracing

    async def intercept_service(
        self, continuation: Callable[[Any], Awaitable[Any]], handler_call_details: Any
    ) -> Any:
        handler = await continuation(handler_call_details)
        method: str = handler_call_details.method
        if handler is None or method.startswith(_UNTRACED) or method.endswith(_HEALTH):
            return handler
        name = next(name for name in _KINDS if getattr(handler, name) is not None)
        return handler._replace(**{name: self._traced(getattr(handler, name), method.strip("/"))})

    def _traced(self, behaviour: Callable[..., Any], name: str) -> Callable[..., Any]:
        async def answer(request: Any, rpc: Any) -> Any:
            with _Call(self._tracing, name, rpc) as inner:
                return await behaviour(request, inner)

        async def answers(request: Any, rpc: Any) -> AsyncIterator[Any]:
            with _Call(self._tracing, name, rpc) as inner:
                async for message in behaviour(request, inner):
                    yield message

        if inspect.isasyncgenfunction(behaviour):
            return answers
        return answer if inspect.iscoroutinefunction(behaviour) else behaviour


class _Call:
    """The span of one call, while it is handled."""

    def __init__(self, tracing: Tracing, name: str, rpc: Any) -> None:
        metadata = rpc.invocation_metadata() or ()
        given = {key: value for key, value in metadata if key in HEADERS}
        service, _, method = name.partition("/")
        about = {"rpc.system": "grpc", "rpc.service": service, "rpc.method": method}
        self._span, own = tracing.begin(name, given, kind=SpanKind.SERVER, attributes=about)
        self._rpc = rpc
        self._inner = _Rpc(rpc, (*(pair for pair in metadata if pair[0] not in HEADERS), *own.items()))

    def __enter__(self) -> _Rpc:
        return self._inner

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if self._span is None:
            return
        code = _outcome(self._rpc, error)
        self._span.set_attribute("rpc.grpc.status_code", code.value[0])
        if code in _FAULTS:
            self._span.set_attribute("error.type", code.name)
            self._span.set_status(StatusCode.ERROR)
        self._span.end()


class _Rpc:
    """A call with other metadata, for its handler."""

    def __init__(self, rpc: Any, metadata: tuple[tuple[str, str | bytes], ...]) -> None:
        self._rpc = rpc
        self._metadata = metadata

    def invocation_metadata(self) -> tuple[tuple[str, str | bytes], ...]:
        return self._metadata

    def __getattr__(self, name: str) -> Any:
        return getattr(self._rpc, name)


def _outcome(rpc: Any, error: BaseException | None) -> grpc.StatusCode:
    code = rpc.code()
    if isinstance(code, int):  # an int until the code is set
        code = next(status for status in grpc.StatusCode if status.value[0] == code)
    if error is None or code not in (None, grpc.StatusCode.OK):
        return code or grpc.StatusCode.OK
    gone = isinstance(error, asyncio.CancelledError | GeneratorExit)
    return grpc.StatusCode.CANCELLED if gone else grpc.StatusCode.UNKNOWN
