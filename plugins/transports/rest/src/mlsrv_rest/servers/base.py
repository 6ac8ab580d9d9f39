"""Server: the interface between the transport and an HTTP server."""

from __future__ import annotations

import asyncio
import socket
import ssl
from abc import ABC, abstractmethod
from typing import ClassVar

from mlsrv_rest.app import RestApp
from mlsrv_rest.servers.request_head import Refusal
from mlsrv_rest.settings import RestSettings
from mlsrv_transport_kit import BACKLOG

HANDSHAKE_SECONDS = 20.0
DRAIN_SECONDS = 0.2
"""Seconds for which idle connections stay open when the server stops: a client may have sent its next request
already."""


class Server(ABC):
    """Serves an application on listening sockets. It installs no signal handlers and leaves logging alone.

    From the moment when the kernel is stopping, each response is the last one of its connection, and says so.
    """

    protocols: ClassVar[list[str]]
    """ALPN protocol names, the preferred one first."""

    def __init__(self, app: RestApp, settings: RestSettings) -> None:
        self.app = app
        self.settings = settings
        self.is_draining = False
        self._listeners: list[asyncio.Server] = []

    @property
    def is_last_response(self) -> bool:
        """True if a response that begins now is the last one of its connection."""
        return self.is_draining or self.app.kernel.stopping

    async def start(self, bound: socket.socket, tls: ssl.SSLContext | None) -> None:
        """Accept connections on a listening socket, beside those before."""
        if not self._listeners:
            self.begin()
        listener = await asyncio.get_running_loop().create_server(
            self.make_connection,
            sock=bound,
            ssl=tls,
            backlog=BACKLOG,
            ssl_handshake_timeout=HANDSHAKE_SECONDS if tls else None,
        )
        self._listeners.append(listener)

    def stop_accepting(self) -> None:
        """Close the listening sockets. Idempotent."""
        self.is_draining = True
        for listener in self._listeners:
            listener.close()

    @abstractmethod
    def begin(self) -> None:
        """Start the timers of the server, just before it accepts connections."""

    @abstractmethod
    def make_connection(self) -> asyncio.BaseProtocol:
        """Return the protocol of a connection that has been accepted."""

    @abstractmethod
    async def drain(self) -> None:
        """Stop accepting connections, close idle ones after `DRAIN_SECONDS`, busy ones after their response.

        Returns when no connection is idle.
        """

    @abstractmethod
    async def close(self, timeout: float) -> None:
        """Wait up to `timeout` seconds for the connections to end, then abort them."""

    @property
    @abstractmethod
    def size(self) -> int:
        """The number of open connections."""

    def no_room(self) -> Refusal:
        """Return the refusal of a connection beyond the limit."""
        return Refusal(
            503, f"The server has {self.settings.http_max_connections} connections; try again later."
        )
