"""Metrics transport: serves the metrics on a port of their own."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Sequence
from typing import Any, ClassVar, cast

from hypercorn.asyncio import serve
from hypercorn.config import Config, Sockets
from hypercorn.logging import Logger

from mlsrv.kernel_api import KernelAPI
from mlsrv.settings import KernelSettings
from mlsrv.transport import Transport
from mlsrv_prometheus.app import MetricsApp
from mlsrv_prometheus.settings import PrometheusSettings
from mlsrv_transport_kit import ServerTLS, TLSFiles, bind, url

logger = logging.getLogger("mlsrv.metrics")

KEEP_ALIVE = 75.0
"""Seconds after which an idle connection is closed: longer than scrapes are apart."""

CLOSING_SECONDS = 1.0


class MetricsTransport(Transport):
    """Listens on ``admin_host``, or else ``host``, and ``metrics_port``."""

    takes_requests: ClassVar[bool] = False

    def __init__(self, kernel: KernelAPI) -> None:
        super().__init__(kernel)
        self._settings = kernel.settings.of(PrometheusSettings)
        self._stop = asyncio.Event()
        self._serving: asyncio.Task[None] | None = None
        self._endpoints: tuple[str, ...] = ()
        self._tls: ServerTLS | None = None

    async def start(self) -> None:
        if self._serving is not None:
            return
        path = self._settings.metrics_endpoint or "/"
        own, port = self.kernel.settings.of(KernelSettings), self._settings.metrics_port
        host, files = own.admin_host or own.host, TLSFiles.of(None, None, None, "tls", own)
        self._tls = None if files is None else ServerTLS(files)
        bound = bind(host, port, server="Prometheus's endpoint", setting="metrics_port")
        self._endpoints = (url(bound, "http" if self._tls is None else "https") + path,)
        self._stop.clear()
        app = cast("Any", MetricsApp(self.kernel, path))
        self._serving = asyncio.create_task(
            serve(app, _config(bound, self._tls), shutdown_trigger=self._stop.wait), name="mlsrv-metrics"
        )

    async def stop(self, grace: float) -> None:
        serving, self._serving = self._serving, None
        self._endpoints = ()
        self._stop.set()
        if serving is None:
            return
        _, hung = await asyncio.wait({serving}, timeout=min(grace, CLOSING_SECONDS))
        if hung:
            serving.cancel()
            await asyncio.wait({serving}, timeout=CLOSING_SECONDS)

    async def reload(self) -> None:
        if self._tls is not None:
            self._tls.reload()

    @property
    def endpoints(self) -> Sequence[str]:
        return self._endpoints

    @property
    def problem(self) -> str | None:
        if self._serving is None or not self._serving.done():
            return None
        return "The server of the metrics has ended."


class _QuietLogger(Logger):
    """Suppresses the log line about the address: the server itself reports where it listens."""

    async def info(self, message: str, *args: Any, **kwargs: Any) -> None:
        await self.debug(message, *args, **kwargs)


class _Config(Config):
    """Serves on a socket that listens already. Hypercorn's own would be inherited by child processes of the
    server or a model, which may outlive it and would hold the port."""

    def __init__(self, bound: socket.socket, tls: ServerTLS | None) -> None:
        super().__init__()
        self._bound = bound
        self._tls = tls

    def create_sockets(self) -> Sockets:
        return Sockets([], [self._bound], []) if self._tls is None else Sockets([self._bound], [], [])

    @property
    def ssl_enabled(self) -> bool:
        return self._tls is not None

    def create_ssl_context(self) -> ssl.SSLContext | None:
        return None if self._tls is None else self._tls.context


def _config(bound: socket.socket, tls: ServerTLS | None) -> Config:
    config = _Config(bound, tls)
    config.errorlog = logger
    config.logger_class = _QuietLogger
    config.include_server_header = False
    config.keep_alive_timeout = KEEP_ALIVE
    config.graceful_timeout = CLOSING_SECONDS
    return config
