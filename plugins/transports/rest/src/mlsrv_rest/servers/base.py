"""What the transport asks of an HTTP server."""

from __future__ import annotations

import socket
import ssl
from abc import ABC, abstractmethod
from typing import ClassVar

from mlsrv_rest.app import RestApp
from mlsrv_rest.settings import RestSettings

HANDSHAKE_SECONDS = 20.0
HEAD_BYTES = 2**16
"""Bytes that the line and the headers of a request may have together."""


class Server(ABC):
    """Serves an application on one socket. It installs no signal handler and touches no logging
    configuration."""

    protocols: ClassVar[list[str]]
    """Names for ALPN, the preferred one first."""

    def __init__(self, app: RestApp, settings: RestSettings) -> None:
        self.app = app
        self.settings = settings

    @abstractmethod
    async def start(self, bound: socket.socket, tls: ssl.SSLContext | None) -> None:
        """Accept connections on a socket that listens."""

    @abstractmethod
    async def drain(self) -> None:
        """Accept no more, close idle connections now and busy ones once they have their answer."""

    @abstractmethod
    async def close(self, timeout: float) -> None:
        """Wait up to `timeout` seconds for the connections to end, then cut them."""
