"""Uvicorn server: HTTP/1.1 with httptools, the faster one.

Uses Uvicorn's connections, but not its ``Server``, which installs signal handlers and polls.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from email.utils import formatdate
from typing import Any, ClassVar

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from mlsrv.listening import BACKLOG
from mlsrv_rest.app import RestApp
from mlsrv_rest.errors import error_response, phrase
from mlsrv_rest.servers.base import HANDSHAKE_SECONDS, MAX_HEAD_BYTES, Server
from mlsrv_rest.settings import RestSettings
from mlsrv_rest.write_coalescing import CoalescingWriter


class UvicornServer(Server):
    """One listening socket, one protocol object for each connection."""

    protocols: ClassVar[list[str]] = ["http/1.1"]

    def __init__(self, app: RestApp, settings: RestSettings) -> None:
        super().__init__(app, settings)
        self._config = uvicorn.Config(
            app,
            http=_Connection,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            proxy_headers=False,
            forwarded_allow_ips=[],
            workers=1,
            server_header=False,
            timeout_keep_alive=settings.http_keep_alive,  # type: ignore[arg-type]  # only handed to call_later
        )
        self._config.load()
        self._state = ServerState()
        self._listener: asyncio.Server | None = None
        self._clock: asyncio.TimerHandle | None = None

    async def start(self, bound: socket.socket, tls: ssl.SSLContext | None) -> None:
        self._tick()
        self._listener = await asyncio.get_running_loop().create_server(
            self._connection,
            sock=bound,
            ssl=tls,
            backlog=BACKLOG,
            ssl_handshake_timeout=HANDSHAKE_SECONDS if tls else None,
        )

    async def drain(self) -> None:
        if self._listener is not None:
            self._listener.close()
        for connection in list(self._state.connections):
            connection.shutdown()

    async def close(self, timeout: float) -> None:
        lost = [
            connection.lost for connection in self._state.connections if isinstance(connection, _Connection)
        ]
        if lost:
            await asyncio.wait(lost, timeout=timeout)
        for connection in list(self._state.connections):
            connection.transport.abort()
        if self._clock is not None:
            self._clock.cancel()

    def _connection(self) -> _Connection:
        return _Connection(self._config, self._state, {})

    def _tick(self) -> None:
        """Renew the Date header, once a second."""
        self._state.default_headers = [(b"date", formatdate(time.time(), usegmt=True).encode())]
        self._clock = asyncio.get_running_loop().call_later(1.0, self._tick)


class _Connection(HttpToolsProtocol):
    """Uvicorn's connection without its access log, with errors in the protocol's form, a limit on headers,
    and a future for its end."""

    def __init__(self, config: uvicorn.Config, server_state: ServerState, app_state: dict[str, Any]) -> None:
        super().__init__(config, server_state, app_state)
        self.access_log = False
        self.lost: asyncio.Future[None] = self.loop.create_future()
        self._head_bytes = 0
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in the base
        super().connection_made(transport)
        self.transport = CoalescingWriter(transport)  # type: ignore[assignment]  # it delegates to one
        # Uvicorn itself detects idleness only after the first response.
        self.timeout_keep_alive_task = self.loop.call_later(
            self.timeout_keep_alive, self.timeout_keep_alive_handler
        )

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        # Uvicorn creates the cycle of a request when its headers are complete.
        if getattr(self.cycle, "scope", None) is not self.scope:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
                self._refuse(431, f"The headers of this request have more than {MAX_HEAD_BYTES} bytes.")
            elif self._head_timer is None:
                # Uvicorn treats a connection as busy from the first byte on.
                self._head_timer = self.loop.call_later(self.timeout_keep_alive, self._on_head_timeout)
        else:
            self._head_bytes = 0
            self._cancel_head_timer()

    def _on_head_timeout(self) -> None:
        if not self.transport.is_closing():
            self._refuse(
                408, f"The headers of this request did not arrive within {self.timeout_keep_alive:g} s."
            )

    def _cancel_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._cancel_head_timer()
        if not self.lost.done():
            self.lost.set_result(None)

    def send_400_response(self, msg: str) -> None:
        self._refuse(400, "This is not a valid HTTP/1.1 request.")

    def _refuse(self, status: int, message: str) -> None:
        response = error_response(status, message)
        lines = [
            f"HTTP/1.1 {status} {phrase(status)}".encode(),
            *(b"%s: %s" % header for header in response.headers),
            b"connection: close",
        ]
        self.transport.write(b"\r\n".join([*lines, b"", response.body]))
        self.transport.close()
