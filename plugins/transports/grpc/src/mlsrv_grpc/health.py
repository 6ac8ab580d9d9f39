"""grpc.health.v1: how load balancers and Kubernetes ask whether the server is ready.

Source: "GRPC Health Checking Protocol", grpc.github.io.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

import grpc

from mlsrv.errors import ServerNotReady
from mlsrv.kernel import Kernel
from mlsrv_grpc.status import Rpc, refuse
from mlsrv_protocol.grpc import message_class, parse

_SECONDS: Final = 0.25
"""How often readiness is looked at while somebody watches it: executors become unhealthy without telling."""
_SERVING: Final = 1
_NOT_SERVING: Final = 2
_SERVICE_UNKNOWN: Final = 3

_Request = message_class("grpc.health.v1.HealthCheckRequest")
_Response = message_class("grpc.health.v1.HealthCheckResponse")


class Health:
    """The readiness of the server, for each of its services alike.

    Args:
        kernel: is ready or not.
        services: their full names; the empty name stands for the server as a whole.
    """

    def __init__(self, kernel: Kernel, services: Iterable[str]) -> None:
        self._kernel = kernel
        self._services = frozenset((*services, ""))
        self._closed = False
        self._seen = False
        self._watchers: set[asyncio.Event] = set()
        self._looking: asyncio.Task[None] | None = None

    def methods(self) -> dict[str, grpc.RpcMethodHandler[bytes, bytes]]:
        """Handlers by the name of the call."""
        return {
            "Check": grpc.unary_unary_rpc_method_handler(self._check),
            "Watch": grpc.unary_stream_rpc_method_handler(self._watch),
        }

    def close(self) -> None:
        """From now on the server is not ready; whoever watches is told, and then left."""
        self._closed = True
        for watcher in self._watchers:
            watcher.set()

    def _status(self, service: str) -> int:
        if service not in self._services:
            return _SERVICE_UNKNOWN
        return _SERVING if not self._closed and self._kernel.ready else _NOT_SERVING

    async def _check(self, body: bytes, rpc: Rpc) -> bytes:
        try:
            service = parse(_Request, body).service
            status = self._status(service)
        except Exception as error:
            problem = error
        else:
            if status == _SERVICE_UNKNOWN:
                await rpc.abort(grpc.StatusCode.NOT_FOUND, "There is no service of this name.")
            return bytes(_Response(status=status).SerializeToString())
        await refuse(rpc, problem)

    async def _watch(self, body: bytes, rpc: Rpc) -> None:
        try:
            service = parse(_Request, body).service
        except Exception as error:
            problem: Exception = error
        else:
            await self._tell(service, rpc)
            problem = ServerNotReady("The server is stopping.")
        await refuse(rpc, problem)

    async def _tell(self, service: str, rpc: Rpc) -> None:
        """Write each change, until the server stops."""
        changed = asyncio.Event()
        self._enter(changed)
        told = None
        try:
            while True:
                changed.clear()
                status = self._status(service)
                if status != told:
                    await rpc.write(_Response(status=status).SerializeToString())
                    told = status
                if self._closed:
                    return
                await changed.wait()
        finally:
            self._leave(changed)

    def _enter(self, watcher: asyncio.Event) -> None:
        self._watchers.add(watcher)
        if self._looking is None:
            self._seen = self._kernel.ready
            self._looking = asyncio.create_task(self._look(), name="mlsrv-grpc-readiness")

    def _leave(self, watcher: asyncio.Event) -> None:
        self._watchers.discard(watcher)
        if not self._watchers and self._looking is not None:
            self._looking.cancel()
            self._looking = None

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(_SECONDS)
            if self._kernel.ready != self._seen:
                self._seen = not self._seen
                for watcher in self._watchers:
                    watcher.set()
