"""Call metrics: counts and durations of gRPC calls, recorded with the meters of the kernel."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Mapping
from functools import cached_property
from typing import Any, Final, TypeAlias, cast

import grpc

from mlsrv.kernel_api import Metrics
from mlsrv.metrics import Recorder
from mlsrv_grpc.metrics import GRPC_HANDLED, GRPC_RECEIVED, GRPC_SECONDS, GRPC_SENT, GRPC_STARTED
from mlsrv_grpc.received_messages import received
from mlsrv_grpc.status import Rpc

Handler: TypeAlias = "grpc.RpcMethodHandler[bytes, bytes]"

_KINDS: Final = {
    (False, False): "UNARY",
    (False, True): "SERVER_STREAMING",
    (True, False): "CLIENT_STREAMING",
    (True, True): "BIDI_STREAMING",
}


def measured_methods(
    meters: Metrics, services: Mapping[str, Mapping[str, Handler]]
) -> dict[str, MethodMetrics]:
    """Return the metrics of each method, by its full name; nothing if there is no meter.

    Args:
        meters: record the calls.
        services: handlers by the name of the call, by the full name of the service.
    """
    if not meters:
        return {}
    return {
        f"/{service}/{name}": MethodMetrics(meters, service, name, handler)
        for service, methods in services.items()
        for name, handler in methods.items()
    }


class MethodMetrics:
    """Records the calls of one method. A method that is never called has no series.

    Args:
        meters: record the calls.
        service: full name of the service.
        name: of the call.
        handler: says which messages are streams.
    """

    def __init__(self, meters: Metrics, service: str, name: str, handler: Handler) -> None:
        self._meters = meters
        self._receives, self._sends = bool(handler.request_streaming), bool(handler.response_streaming)
        self._labels = _KINDS[self._receives, self._sends], service, name
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

    def begin(self) -> None:
        """Record the start of a call."""
        self._started(1.0)

    def end(self, status: str, seconds: float) -> None:
        """Record the end of a call, by the name of its status code."""
        record = self._handled.get(status)
        if record is None:
            record = self._handled[status] = self._meters.bind(GRPC_HANDLED, (*self._labels, status))
        record(1.0)
        self._seconds(seconds)

    def counted(self, request: Any, rpc: Rpc) -> tuple[Any, Rpc]:
        """Return what a call is made with, such that the messages of streams are counted.

        Args:
            request: bytes, or the stream of requests.
            rpc: the call.
        """
        if not self._sends:
            return request, rpc
        if isinstance(request, bytes):
            self._received(1.0)
        else:
            request = self._count_received(received(request, rpc))
        return request, cast("Rpc", _CountingCall(rpc, self._sent))

    async def _count_received(self, requests: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
        async for request in requests:
            self._received(1.0)
            yield request
            del request  # the next one may be long in coming


class Unmeasured(MethodMetrics):
    """Records nothing."""

    def __init__(self) -> None:
        pass

    def begin(self) -> None:
        pass

    def end(self, status: str, seconds: float) -> None:
        pass

    def counted(self, request: Any, rpc: Rpc) -> tuple[Any, Rpc]:
        return request, rpc


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
