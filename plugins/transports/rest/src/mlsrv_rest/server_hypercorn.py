"""Hypercorn: HTTP/1.1, HTTP/2 (TLS, cleartext by prior knowledge or upgrade).

Hypercorn's connections are used, but not its ``serve``: that one does not let requests in flight finish for
as long as they are given, nor cut a connection whose client does not read.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import sys
import time
from collections.abc import Coroutine
from email.utils import formatdate
from typing import Any, ClassVar

from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.asyncio.worker_context import WorkerContext
from hypercorn.config import Config

from mlsrv_rest.app import RestApp
from mlsrv_rest.listen import BACKLOG, HANDSHAKE_SECONDS
from mlsrv_rest.server import Server
from mlsrv_rest.settings import RestSettings

logger = logging.getLogger("mlsrv.rest")


class HypercornServer(Server):
    """One listening socket, one task for each connection."""

    protocols: ClassVar[list[str]] = ["h2", "http/1.1"]

    def __init__(self, app: RestApp, settings: RestSettings) -> None:
        super().__init__(app, settings)
        self._config = _Config(settings.http_keep_alive)
        self._context = WorkerContext(None)
        self._listener: asyncio.Server | None = None
        self._connections: dict[asyncio.Task[Any], asyncio.StreamWriter] = {}

    async def start(self, bound: socket.socket, tls: ssl.SSLContext | None) -> None:
        self._listener = await asyncio.start_server(
            self._accept,
            sock=bound,
            ssl=tls,
            backlog=BACKLOG,
            ssl_handshake_timeout=HANDSHAKE_SECONDS if tls else None,
        )

    async def drain(self) -> None:
        if self._listener is not None:
            self._listener.close()
        await self._context.terminated.set()

    async def close(self, timeout: float) -> None:
        if self._connections:
            await asyncio.wait(self._connections, timeout=timeout)
        for task, writer in self._connections.items():
            writer.transport.abort()
            task.cancel()
        if self._connections:
            await asyncio.wait(self._connections, timeout=timeout)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._connections[task] = writer
        task.add_done_callback(self._connections.pop)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        try:
            await TCPServer(self._call, loop, self._config, self._context, {}, reader, writer)
        except Exception as error:
            # Hypercorn does not expect everything that a client may do, such as sending on after its answer.
            logger.warning("A connection ended in %s: %s", type(error).__name__, error)

    def _call(
        self, scope: Any, receive: Any, send: Any, sync_spawn: Any, call_soon: Any
    ) -> Coroutine[Any, Any, None]:
        return self.app(scope, receive, send)


class _Config(Config):
    errorlog = logger
    include_server_header = False
    # A client that never repeats a POST loses requests to a server that counts them.
    keep_alive_max_requests = sys.maxsize

    def __init__(self, keep_alive: float) -> None:
        self.keep_alive_timeout = keep_alive
        self._second = 0
        self._headers: list[tuple[bytes, bytes]] = []

    def response_headers(self, protocol: str) -> list[tuple[bytes, bytes]]:
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._headers = [(b"date", formatdate(second, usegmt=True).encode())]
        return self._headers
