"""Call metrics: counts and durations of gRPC calls, recorded with the meters of the kernel."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Mapping
from functools import cached_property
from time import monotonic_ns
from typing import Any, TypeAlias, cast

import grpc

from mlsrv.kernel_api import Metrics
from mlsrv.metrics import Recorder
from mlsrv_grpc.metrics import GRPC_HANDLED, GRPC_RECEIVED, GRPC_SECONDS, GRPC_SENT, GRPC_STARTED
from mlsrv_grpc.status import Rpc, cancellation_name, code_name

Handler: TypeAlias = "grpc.RpcMethodHandler[bytes, bytes]"
Methods: TypeAlias = Mapping[str, Handler]
Behaviour: TypeAlias = Callable[[Any, Rpc], Awaitable[Any]]

_SECOND = 1e-9


def measured_methods(meters: Metrics, service: str, methods: Methods) -> dict[str, Handler]:
    """Return handlers that record each call; the given ones if there is no meter.

    Args:
        meters: record the calls.
        service: full name of the service.
        methods: handlers whose behaviours are coroutine functions, by the name of the call.
    """
    if not meters:
        return dict(methods)
    return {name: _measured(meters, service, name, handler) for name, handler in methods.items()}


def _measured(meters: Metrics, service: str, name: str, handler: Handler) -> Handler:
    if handler.stream_stream is not None:
        method = _Method(meters, ("BIDI_STREAMING", service, name), handler.stream_stream)
        return grpc.stream_stream_rpc_method_handler(method.stream_stream)
    if handler.unary_stream is not None:
        method = _Method(meters, ("SERVER_STREAMING", service, name), handler.unary_stream)
        return grpc.unary_stream_rpc_method_handler(method.unary_stream)
    method = _Method(meters, ("UNARY", service, name), handler.unary_unary)
    return grpc.unary_unary_rpc_method_handler(method.unary)


class _Method:
    """Records the calls of one method. A method that is never called has no series."""

    def __init__(self, meters: Metrics, labels: tuple[str, str, str], behaviour: Any) -> None:
        self._behaviour = cast("Behaviour", behaviour)
        self._meters = meters
        self._labels = labels
        self._handled: dict[str, Recorder] = {}

    @cached_property
    def _started(self) -> Recorder:
        return self._meters.bind(GRPC_STARTED, self._labels)

    @cached_property
    def _seconds(self) -> Recorder:
        return self._meters.bind(GRPC_SECONDS, self._labels)

    @cached_property
    def _received(self) -> Recorder:
        return self._meters.bind(GRPC_RECEIVED, self._labels)

    @cached_property
    def _sent(self) -> Recorder:
        return self._meters.bind(GRPC_SENT, self._labels)

    async def unary(self, request: Any, rpc: Rpc) -> Any:
        """Call the behaviour and record the call."""
        began = monotonic_ns()
        self._started(1.0)
        code = "OK"
        try:
            return await self._behaviour(request, rpc)
        except asyncio.CancelledError:
            code = cancellation_name(rpc)
            raise
        except BaseException:
            code = code_name(rpc)
            raise
        finally:
            record = self._handled.get(code)
            if record is None:
                record = self._handled[code] = self._meters.bind(GRPC_HANDLED, (*self._labels, code))
            record(1.0)
            self._seconds((monotonic_ns() - began) * _SECOND)

    async def unary_stream(self, request: bytes, rpc: Rpc) -> None:
        """Call the behaviour with one request, and count the responses that it writes."""
        self._received(1.0)
        await self.unary(request, cast("Rpc", _CountingCall(rpc, self._sent)))

    async def stream_stream(self, requests: AsyncIterable[bytes], rpc: Rpc) -> None:
        """Call the behaviour with a stream of requests, and count requests and responses."""
        await self.unary(self._count_received(requests), cast("Rpc", _CountingCall(rpc, self._sent)))

    async def _count_received(self, requests: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
        async for request in requests:
            self._received(1.0)
            yield request


class _CountingCall:
    """Wraps a call, and counts the messages that are written."""

    def __init__(self, rpc: Rpc, sent: Recorder) -> None:
        self._rpc = rpc
        self._sent = sent

    async def write(self, message: bytes) -> None:
        """Write a message to the client and count it."""
        await self._rpc.write(message)
        self._sent(1.0)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._rpc, name)
