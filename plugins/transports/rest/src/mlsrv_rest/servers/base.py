"""Server: the interface between the transport and an HTTP server."""

from __future__ import annotations

import socket
import ssl
from abc import ABC, abstractmethod
from typing import ClassVar

from mlsrv_rest.app import RestApp
from mlsrv_rest.servers.request_head import Refusal
from mlsrv_rest.settings import RestSettings

HANDSHAKE_SECONDS = 20.0
DRAIN_SECONDS = 0.2
"""Seconds for which idle connections stay open when the server stops: a client may have sent its next request
already."""


class Server(ABC):
    """Serves an application on one socket. It installs no signal handlers and leaves logging alone.

    From the moment when the kernel is stopping, each response is the last one of its connection, and says so.
    """

    protocols: ClassVar[list[str]]
    """ALPN protocol names, the preferred one first."""

    def __init__(self, app: RestApp, settings: RestSettings) -> None:
        self.app = app
        self.settings = settings
        self.is_draining = False

    @property
    def is_last_response(self) -> bool:
        """True if a response that begins now is the last one of its connection."""
        return self.is_draining or self.app.kernel.stopping

    @abstractmethod
    async def start(self, bound: socket.socket, tls: ssl.SSLContext | None) -> None:
        """Accept connections on a listening socket."""

    @abstractmethod
    async def drain(self) -> None:
        """Stop accepting connections, close idle ones after `DRAIN_SECONDS`, busy ones after their response.

        Returns when no connection is idle.
        """

    @abstractmethod
    async def close(self, timeout: float) -> None:
        """Wait up to `timeout` seconds for the connections to end, then abort them."""

    def no_room(self) -> Refusal:
        """Return the refusal of a connection beyond the limit."""
        return Refusal(
            503, f"The server has {self.settings.http_max_connections} connections; try again later."
        )
