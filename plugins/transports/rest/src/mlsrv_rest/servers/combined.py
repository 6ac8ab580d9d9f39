"""Combined server, the default: HTTP/1.1 with httptools and HTTP/2 with Hypercorn, on one socket."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, ClassVar

from mlsrv_rest.app import RestApp
from mlsrv_rest.servers.request_head import offers_h2c
from mlsrv_rest.servers.uvicorn import Connection, UvicornServer
from mlsrv_rest.settings import RestSettings

if TYPE_CHECKING:
    from mlsrv_rest.servers.hypercorn import HypercornServer

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


class CombinedServer(UvicornServer):
    """Accepts connections as `UvicornServer`, and gives those that speak HTTP/2 to a `HypercornServer`: by
    ALPN, by prior knowledge, or because a request without TLS offers it.

    That server is made, and imported, for the first such connection: most servers never have one.
    """

    protocols: ClassVar[list[str]] = ["h2", "http/1.1"]

    def __init__(self, app: RestApp, settings: RestSettings) -> None:
        super().__init__(app, settings)
        self._http2: HypercornServer | None = None

    @property
    def size(self) -> int:
        return super().size + (0 if self._http2 is None else self._http2.size)

    @property
    def http2(self) -> HypercornServer:
        """The server of the connections that speak HTTP/2."""
        if self._http2 is None:
            from mlsrv_rest.servers.hypercorn import HypercornServer

            self._http2 = HypercornServer(self.app, self.settings)
            self._http2.is_draining = self.is_draining
            self._http2.begin()
        return self._http2

    def make_connection(self) -> Connection:
        return _SwitchingConnection(self, self._config, self._state)

    async def drain(self) -> None:
        self.stop_accepting()
        others = () if self._http2 is None else (self._http2.drain(),)
        await asyncio.gather(super().drain(), *others)

    async def close(self, timeout: float) -> None:
        others = () if self._http2 is None else (self._http2.close(timeout),)
        await asyncio.gather(super().close(timeout), *others)


class _SwitchingConnection(Connection):
    """A connection of HTTP/1.1 until its client asks for HTTP/2."""

    _server: CombinedServer
    _has_begun = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in the base
        super().connection_made(transport)
        tls = transport.get_extra_info("ssl_object")
        if tls is not None and tls.selected_alpn_protocol() == "h2" and not transport.is_closing():
            self._switch(b"")

    def data_received(self, data: bytes) -> None:
        if not self._has_begun:
            self._has_begun = True
            if _PREFACE.startswith(data[: len(_PREFACE)]) and not self.transport.is_closing():
                self._switch(data)
                return
        super().data_received(data)

    def upgrade(self, rest: bytes) -> None:
        if self.is_idle and self._server.settings.http_h2c_upgrade and offers_h2c(self.headers):
            self._switch(self.head(self.headers) + rest)
        else:
            super().upgrade(rest)

    def _switch(self, data: bytes) -> None:
        """Give the connection to the server of HTTP/2, with what has been read of it."""
        transport: Any = self.transport
        self.leave()
        self._server.http2.take_over(transport.target, data)
