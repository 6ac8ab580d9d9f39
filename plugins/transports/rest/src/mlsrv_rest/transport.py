"""REST transport: runs the HTTP server for a kernel."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Sequence

from mlsrv.kernel_api import KernelAPI
from mlsrv.listening import ServerTLS, bind, url
from mlsrv.settings import KernelSettings
from mlsrv.transport import Transport
from mlsrv_rest.app import RestApp, rest_settings
from mlsrv_rest.servers.base import Server
from mlsrv_rest.settings import RestSettings

_CLOSE_SECONDS = 1.0
_SERVERS = {
    "combined": "mlsrv_rest.servers.combined:CombinedServer",
    "hypercorn": "mlsrv_rest.servers.hypercorn:HypercornServer",
    "uvicorn": "mlsrv_rest.servers.uvicorn:UvicornServer",
}
_HANDOVER_TURNS = 5
"""Turns of the event loop after which every request that had been read has reached the application."""


class RestTransport(Transport):
    """Listens on ``host`` and ``http_port`` with the server that ``http_server`` names."""

    extensions = (
        "binary_tensor_data",
        "generate",
        "model_configuration",
        "model_repository",
        "parameters",
    )

    def __init__(self, kernel: KernelAPI) -> None:
        super().__init__(kernel)
        self._settings = rest_settings(kernel)
        self._app: RestApp | None = None
        self._server: Server | None = None
        self._tls: ServerTLS | None = None
        self._endpoints: tuple[str, ...] = ()

    async def start(self) -> None:
        if self._server is not None:
            return
        app = RestApp(self.kernel)
        server = _make_server(app, self._settings)
        tls = _make_tls(self._settings, server.protocols)
        host, port = self.kernel.settings.of(KernelSettings).host, self._settings.http_port
        bound = bind(host, port, server="REST", setting="http_port")
        try:
            await server.start(bound, None if tls is None else tls.context)
        except BaseException:
            bound.close()
            raise
        self._app, self._server, self._tls = app, server, tls
        self._endpoints = (url(bound, "http" if tls is None else "https"),)

    async def stop(self, grace: float) -> None:
        app, server = self._app, self._server
        self._app = self._server = None
        self._endpoints = ()
        if app is None or server is None:
            return
        await server.drain()
        for _ in range(_HANDOVER_TURNS):
            await asyncio.sleep(0)
        await app.calls.drain(grace)
        await server.close(_CLOSE_SECONDS)
        app.close()

    async def reload(self) -> None:
        if self._tls is not None:
            self._tls.reload()

    @property
    def endpoints(self) -> Sequence[str]:
        return self._endpoints


def _make_tls(settings: RestSettings, protocols: list[str]) -> ServerTLS | None:
    if settings.http_tls_cert is None:
        return None
    return ServerTLS(
        settings.http_tls_cert,
        settings.http_tls_key,
        settings.http_tls_ca,
        setting="http_tls",
        protocols=protocols,
    )


def _make_server(app: RestApp, settings: RestSettings) -> Server:
    # Only the chosen HTTP server is imported.
    module, _, name = _SERVERS[settings.http_server].partition(":")
    made: Server = getattr(importlib.import_module(module), name)(app, settings)
    return made
