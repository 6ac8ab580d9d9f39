"""REST transport: runs the HTTP server for a kernel."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Sequence

from attrs import frozen

from mlsrv.kernel_api import KernelAPI
from mlsrv.settings import KernelSettings
from mlsrv.transport import Transport
from mlsrv_rest.app import RestApp, rest_settings
from mlsrv_rest.servers.base import Server
from mlsrv_rest.settings import RestSettings
from mlsrv_transport_kit import ServerTLS, TLSFiles, bind_all, siblings_of, url

_CLOSE_SECONDS = 1.0
_SERVERS = {
    "combined": "mlsrv_rest.servers.combined:CombinedServer",
    "hypercorn": "mlsrv_rest.servers.hypercorn:HypercornServer",
    "uvicorn": "mlsrv_rest.servers.uvicorn:UvicornServer",
}
_HANDOVER_TURNS = 5
"""Turns of the event loop after which every request that had been read has reached the application."""


@frozen
class _Listener:
    """One address, with the application and the server that answer there."""

    app: RestApp
    server: Server
    tls: ServerTLS | None
    url: str


class RestTransport(Transport):
    """Listens on ``host`` and ``http_port`` with the server that ``http_server`` names, and on ``admin_port``
    if that is set."""

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
        self._listeners: list[_Listener] = []

    async def start(self) -> None:
        if self._listeners:
            return
        own = self.kernel.settings.of(KernelSettings)
        try:
            await self._listen(own.host, self._settings.http_port, "http_port", own)
            if own.admin_port is not None:
                await self._listen(own.admin_host or own.host, own.admin_port, "admin_port", own)
        except BaseException:
            await self.stop(0)
            raise

    async def _listen(self, host: str, port: int, setting: str, own: KernelSettings) -> None:
        app = RestApp(self.kernel, is_admin=setting == "admin_port")
        try:
            server = _make_server(app, self._settings)
            tls = _make_tls(self._settings, own, server.protocols)
            bound = bind_all(host, port, server="REST", setting=setting, siblings=siblings_of(self.kernel))
            try:
                for each in bound:
                    await server.start(each, None if tls is None else tls.context)
            except BaseException:
                server.stop_accepting()
                for each in bound:
                    each.close()
                raise
        except BaseException:
            app.close()
            raise
        scheme = "http" if tls is None else "https"
        shown = url(bound[0], scheme, host if len(bound) > 1 else None)
        self._listeners.append(_Listener(app, server, tls, shown))

    async def stop(self, grace: float) -> None:
        listeners, self._listeners = self._listeners, []
        if not listeners:
            return
        await asyncio.gather(*(listener.server.drain() for listener in listeners))
        for _ in range(_HANDOVER_TURNS):
            await asyncio.sleep(0)
        await asyncio.gather(*(listener.app.calls.drain(grace) for listener in listeners))
        await asyncio.gather(*(listener.server.close(_CLOSE_SECONDS) for listener in listeners))
        for listener in listeners:
            listener.app.close()

    async def reload(self) -> None:
        for listener in self._listeners:
            if listener.tls is not None:
                listener.tls.reload()

    @property
    def endpoints(self) -> Sequence[str]:
        return tuple(listener.url for listener in self._listeners)


def _make_tls(settings: RestSettings, common: KernelSettings, protocols: list[str]) -> ServerTLS | None:
    files = TLSFiles.of(
        settings.http_tls_cert, settings.http_tls_key, settings.http_tls_ca, "http_tls", common
    )
    return None if files is None else ServerTLS(files, protocols)


def _make_server(app: RestApp, settings: RestSettings) -> Server:
    # Only the chosen HTTP server is imported.
    module, _, name = _SERVERS[settings.http_server].partition(":")
    made: Server = getattr(importlib.import_module(module), name)(app, settings)
    return made
