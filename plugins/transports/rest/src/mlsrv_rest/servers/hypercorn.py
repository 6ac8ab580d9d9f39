"""Hypercorn server: HTTP/1.1 and HTTP/2 (over TLS, and cleartext by prior knowledge or upgrade).

Uses Hypercorn's connections, but not its ``serve``, which does not let requests in flight finish for the
whole grace period and does not abort a connection whose client does not read.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import sys
import time
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from typing import Any, ClassVar

from h2.errors import ErrorCodes
from h2.stream import StreamState
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.asyncio.worker_context import WorkerContext
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData
from hypercorn.protocol.h2 import H2Protocol

from mlsrv.listening import BACKLOG
from mlsrv_rest.app import RestApp
from mlsrv_rest.servers.base import HANDSHAKE_SECONDS, MAX_HEAD_BYTES, Server
from mlsrv_rest.settings import RestSettings
from mlsrv_rest.write_coalescing import CoalescingWriter

logger = logging.getLogger("mlsrv.rest")


class HypercornServer(Server):
    """One listening socket, one task for each connection."""

    protocols: ClassVar[list[str]] = ["h2", "http/1.1"]

    def __init__(self, app: RestApp, settings: RestSettings) -> None:
        super().__init__(app, settings)
        self._config = _Config(settings.http_keep_alive)
        self._context = WorkerContext(None)
        self._listener: asyncio.Server | None = None
        self._connections: dict[asyncio.Task[None], _Connection] = {}

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
        for connection in list(self._connections.values()):
            connection.idle_task.expire()

    async def close(self, timeout: float) -> None:
        if self._connections:
            await asyncio.wait(self._connections, timeout=timeout)
        for task, connection in self._connections.items():
            connection.writer.transport.abort()
            task.cancel()
        if self._connections:
            await asyncio.wait(self._connections, timeout=timeout)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        connection = _Connection(self.app, loop, self._config, self._context, {}, reader, writer)
        task = asyncio.ensure_future(self._serve(connection))
        self._connections[task] = connection
        task.add_done_callback(self._connections.pop)

    async def _serve(self, connection: _Connection) -> None:
        try:
            await connection
        except Exception as error:
            # Hypercorn raises for some behaviours of clients, such as sending on after the response.
            logger.warning("A connection ended with %s: %s", type(error).__name__, error)
        finally:
            connection.idle_task.cancel()


class _Connection(TCPServer):
    """Hypercorn's connection at a lower cost: one timer detects idleness, where Hypercorn starts two tasks
    after each response, head and body are written together, and a stream that is no longer read is reset."""

    def __init__(self, app: RestApp, *args: Any) -> None:
        super().__init__(self._call, *args)
        self._app = app
        self._ended = False
        self.writer: Any = CoalescingWriter(self.writer)
        self.idle_task: Any = _IdleTimer(self.config.keep_alive_timeout, self.context, self._end)

    async def protocol_send(self, event: Event) -> None:
        """Send an event of the protocol, then reset the streams that are no longer read."""
        await super().protocol_send(event)
        protocol = self.protocol.protocol
        if isinstance(protocol, H2Protocol) and (unread := _unread_streams(protocol)):
            for stream in unread:
                protocol.connection.reset_stream(stream, ErrorCodes.NO_ERROR)
            await super().protocol_send(RawData(protocol.connection.data_to_send()))

    async def _call(self, scope: Any, receive: Any, send: Any, sync_spawn: Any, call_soon: Any) -> None:
        # Hypercorn may still hand over a request that was read just before the end; it could not be answered.
        if not self._ended:
            await self._app(scope, receive, send)

    async def _end(self) -> None:
        self._ended = True
        await self.protocol.handle(Closed())
        self.writer.close()


def _unread_streams(protocol: H2Protocol) -> list[int]:
    """Return the streams that were answered before their requests had been sent whole. Hypercorn forgets
    them, and further data on them would end the whole connection."""
    return [
        number
        for number, stream in protocol.connection.streams.items()
        if number not in protocol.streams and stream.state_machine.state is StreamState.HALF_CLOSED_LOCAL
    ]


class _IdleTimer:
    """Ends a connection that has been idle for too long, or at once while the server stops.

    It replaces Hypercorn's idle task, hence `restart` and `stop`. These only store the time; the timer
    compares it when it fires.
    """

    def __init__(self, timeout: float, context: WorkerContext, end: Callable[[], Awaitable[None]]) -> None:
        self._timeout = timeout
        self._context = context
        self._end = end
        self._loop = asyncio.get_running_loop()
        self._idle_since: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._ending: asyncio.Future[None] | None = None

    async def restart(self, task_group: object, action: object) -> None:
        """Mark the connection as idle from now on."""
        self._idle_since = self._loop.time()
        if self._context.terminated.is_set():
            self.expire()
        elif self._timer is None:
            self._timer = self._loop.call_later(self._timeout, self._on_timer)

    async def stop(self) -> None:
        """Mark the connection as busy."""
        self._idle_since = None

    def expire(self) -> None:
        """End the connection if it is idle."""
        if self._idle_since is not None and self._ending is None:
            self._ending = asyncio.ensure_future(self._end_idle())

    async def _end_idle(self) -> None:
        # A request may have arrived since.
        if self._idle_since is not None:
            await self._end()
        self._ending = None

    def cancel(self) -> None:
        """Cancel the timer: the connection has ended."""
        if self._timer is not None:
            self._timer.cancel()

    def _on_timer(self) -> None:
        self._timer = None
        if self._idle_since is None:
            # `restart` starts the timer again.
            return
        left = self._idle_since + self._timeout - self._loop.time()
        if left > 0:
            self._timer = self._loop.call_later(left, self._on_timer)
        else:
            self.expire()


class _Config(Config):
    errorlog = logger
    h11_max_incomplete_size = MAX_HEAD_BYTES
    h2_max_header_list_size = MAX_HEAD_BYTES
    include_server_header = False
    # A client that never retries a POST would lose requests to a server that closes after so many.
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
