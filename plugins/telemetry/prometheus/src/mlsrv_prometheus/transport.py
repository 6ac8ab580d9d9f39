"""Metrics transport: serves the metrics on a port of their own."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, ClassVar, cast

from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from mlsrv.kernel_api import KernelAPI
from mlsrv.settings import KernelSettings
from mlsrv.transport import Transport
from mlsrv_prometheus.app import CERTIFICATE, MetricsApp
from mlsrv_prometheus.settings import PrometheusSettings
from mlsrv_transport_kit import ServerTLS, TLSFiles, bind_all, siblings_of, subject_of, url

logger = logging.getLogger("mlsrv.metrics")

KEEP_ALIVE = 75
"""Seconds after which a connection is closed that has sent no request: longer than scrapes are apart."""

CLOSING_SECONDS = 1.0


class MetricsTransport(Transport):
    """Listens on ``admin_host``, or else ``host``, and ``metrics_port``."""

    takes_requests: ClassVar[bool] = False

    def __init__(self, kernel: KernelAPI) -> None:
        super().__init__(kernel)
        self._settings = kernel.settings.of(PrometheusSettings)
        self._listeners: list[asyncio.Server] = []
        self._state = ServerState()
        self._endpoints: tuple[str, ...] = ()
        self._tls: ServerTLS | None = None

    async def start(self) -> None:
        if self._listeners:
            return
        path, siblings = self._settings.metrics_endpoint or "/", siblings_of(self.kernel)
        own, port = self.kernel.settings.of(KernelSettings), self._settings.metrics_port
        host, files = own.admin_host or own.host, TLSFiles.of(None, None, None, "tls", own)
        self._tls = None if files is None else ServerTLS(files)
        bound = bind_all(
            host, port, server="Prometheus's endpoint", setting="metrics_port", siblings=siblings
        )
        scheme, name = "http" if self._tls is None else "https", host if len(bound) > 1 else None
        self._endpoints = (url(bound[0], scheme, name) + path,)
        app = MetricsApp(self.kernel, path)
        siblings.answers["metrics"] = app.families
        config = _config(app)
        self._state = state = ServerState()
        for each in bound:
            listener = await asyncio.get_running_loop().create_server(
                lambda: _Connection(config, state, {}),
                sock=each,
                ssl=None if self._tls is None else self._tls.context,
            )
            self._listeners.append(listener)

    async def stop(self, grace: float) -> None:
        listeners, self._listeners = self._listeners, []
        self._endpoints = ()
        if not listeners:
            return
        for listener in listeners:
            listener.close()
        connections = [
            connection for connection in self._state.connections if isinstance(connection, _Connection)
        ]
        for connection in connections:
            connection.shutdown()
        if connections:
            lost = [connection.lost for connection in connections]
            await asyncio.wait(lost, timeout=min(grace, CLOSING_SECONDS))
        for connection in connections:
            connection.transport.abort()

    async def reload(self) -> None:
        if self._tls is not None:
            self._tls.reload()

    @property
    def endpoints(self) -> Sequence[str]:
        return self._endpoints

    @property
    def problem(self) -> str | None:
        if all(listener.is_serving() for listener in self._listeners):
            return None
        return "The server of the metrics has ended."


def _config(app: MetricsApp) -> Config:
    config = Config(
        cast("Any", app),
        http=_Connection,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE,
    )
    config.load()
    return config


class _Connection(H11Protocol):
    """Uvicorn's connection without its access log, which must send the head of each request in time."""

    def __init__(self, config: Config, server_state: ServerState, app_state: dict[str, Any]) -> None:
        super().__init__(config, server_state, app_state)
        self.access_log = False
        self.logger = logger
        self.lost: asyncio.Future[None] = self.loop.create_future()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in the base
        super().connection_made(transport)
        self.app_state[CERTIFICATE] = subject_of(transport.get_extra_info("ssl_object"))
        self.timeout_keep_alive_task = self.loop.call_later(
            self.timeout_keep_alive, self.timeout_keep_alive_handler
        )

    def data_received(self, data: bytes) -> None:
        # Uvicorn stops the timer at the first byte of a request, this one at the end of its head.
        timer, self.timeout_keep_alive_task = self.timeout_keep_alive_task, None
        super().data_received(data)
        if timer is not None:
            latest: Any = self.cycle  # None before the first request
            if latest is None or latest.response_complete:
                self.timeout_keep_alive_task = timer
            else:
                timer.cancel()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._unset_keepalive_if_required()
        if not self.lost.done():
            self.lost.set_result(None)
