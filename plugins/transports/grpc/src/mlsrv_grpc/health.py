"""Health: the service grpc.health.v1, which load balancers and Kubernetes query.

Source: "GRPC Health Checking Protocol", grpc.github.io.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

import grpc

from mlsrv.authorization import requires
from mlsrv.errors import ServerNotReady
from mlsrv.kernel_api import KernelAPI
from mlsrv_grpc.status import Rpc, refuse
from mlsrv_protocol.grpc import message_class, parse

_POLL_SECONDS: Final = 0.25
"""Seconds between two checks of readiness while there are watchers: executors do not report that they become
unhealthy."""
_SERVING: Final = 1
_NOT_SERVING: Final = 2
_SERVICE_UNKNOWN: Final = 3

_REQUEST: Final = "grpc.health.v1.HealthCheckRequest"
_RESPONSE: Final = "grpc.health.v1.HealthCheckResponse"


class Health:
    """Reports the readiness of the server for each of its services.

    Args:
        kernel: its readiness is reported.
        services: their full names; the empty name means the whole server.
    """

    def __init__(self, kernel: KernelAPI, services: Iterable[str]) -> None:
        self._kernel = kernel
        self._services = frozenset((*services, ""))
        self._closed = False
        self._was_ready = False
        self._watchers: set[asyncio.Event] = set()
        self._poller: asyncio.Task[None] | None = None

    def methods(self) -> dict[str, grpc.RpcMethodHandler[bytes, bytes]]:
        """Return handlers by the name of the call."""
        return {
            "Check": grpc.unary_unary_rpc_method_handler(self._check),
            "Watch": grpc.unary_stream_rpc_method_handler(self._watch),
        }

    def close(self) -> None:
        """Report the server as not ready from now on; the watchers get a last message, then their calls
        end."""
        self._closed = True
        for watcher in self._watchers:
            watcher.set()

    def _status(self, service: str) -> int:
        if service not in self._services:
            return _SERVICE_UNKNOWN
        return _SERVING if not self._closed and self._kernel.ready else _NOT_SERVING

    @requires("health")
    async def _check(self, body: bytes, rpc: Rpc) -> bytes:
        try:
            service = parse(message_class(_REQUEST), body).service
            status = self._status(service)
        except Exception as error:
            problem = error
        else:
            if status == _SERVICE_UNKNOWN:
                await rpc.abort(grpc.StatusCode.NOT_FOUND, "There is no service of this name.")
            return bytes(message_class(_RESPONSE)(status=status).SerializeToString())
        await refuse(rpc, problem)

    @requires("health")
    async def _watch(self, body: bytes, rpc: Rpc) -> None:
        try:
            service = parse(message_class(_REQUEST), body).service
        except Exception as error:
            problem: Exception = error
        else:
            await self._write_changes(service, rpc)
            problem = ServerNotReady("The server is stopping.")
        await refuse(rpc, problem)

    async def _write_changes(self, service: str, rpc: Rpc) -> None:
        """Write the status and each change of it, until the server stops."""
        changed = asyncio.Event()
        self._enter(changed)
        written = None
        try:
            while True:
                changed.clear()
                status = self._status(service)
                if status != written:
                    await rpc.write(message_class(_RESPONSE)(status=status).SerializeToString())
                    written = status
                if self._closed:
                    return
                await changed.wait()
        finally:
            self._leave(changed)

    def _enter(self, watcher: asyncio.Event) -> None:
        self._watchers.add(watcher)
        if self._poller is None:
            self._was_ready = self._kernel.ready
            self._poller = asyncio.create_task(self._poll(), name="mlsrv-grpc-readiness")

    def _leave(self, watcher: asyncio.Event) -> None:
        self._watchers.discard(watcher)
        if not self._watchers and self._poller is not None:
            self._poller.cancel()
            self._poller = None

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(_POLL_SECONDS)
            if self._kernel.ready != self._was_ready:
                self._was_ready = not self._was_ready
                for watcher in self._watchers:
                    watcher.set()
