"""Server: the interface between the transport and an HTTP server."""

from __future__ import annotations

import socket
import ssl
from abc import ABC, abstractmethod
from typing import ClassVar

from mlsrv_rest.app import RestApp
from mlsrv_rest.settings import RestSettings

HANDSHAKE_SECONDS = 20.0
MAX_HEAD_BYTES = 2**16
"""Bytes that the request line and the headers of a request may have together."""


class Server(ABC):
    """Serves an application on one socket. It installs no signal handlers and leaves logging alone."""

    protocols: ClassVar[list[str]]
    """ALPN protocol names, the preferred one first."""

    def __init__(self, app: RestApp, settings: RestSettings) -> None:
        self.app = app
        self.settings = settings

    @abstractmethod
    async def start(self, bound: socket.socket, tls: ssl.SSLContext | None) -> None:
        """Accept connections on a listening socket."""

    @abstractmethod
    async def drain(self) -> None:
        """Stop accepting connections, close idle ones now and busy ones after their response."""

    @abstractmethod
    async def close(self, timeout: float) -> None:
        """Wait up to `timeout` seconds for the connections to end, then abort them."""
