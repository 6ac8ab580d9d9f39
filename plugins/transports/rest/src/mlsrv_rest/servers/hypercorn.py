"""Hypercorn server: HTTP/1.1 and HTTP/2 (over TLS, and cleartext by prior knowledge or upgrade).

Uses Hypercorn's protocols, but not its ``serve``, which does not let requests in flight finish for the whole
grace period and does not abort a connection whose client does not read.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import Awaitable, Callable, Hashable, Iterator
from email.utils import formatdate
from functools import partial
from typing import Any, ClassVar

from hypercorn.asyncio.task_group import TaskGroup
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.asyncio.worker_context import WorkerContext
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData
from hypercorn.protocol.h11 import H2CProtocolRequiredError, H2ProtocolAssumedError
from hypercorn.typing import ConnectionState
from hypercorn.utils import parse_socket_addr

from mlsrv_rest.access import CERTIFICATE
from mlsrv_rest.app import RestApp
from mlsrv_rest.servers.base import DRAIN_SECONDS, Server
from mlsrv_rest.servers.http1 import H1Protocol
from mlsrv_rest.servers.http2 import H2Protocol
from mlsrv_rest.servers.request_head import MAX_HEAD_BYTES
from mlsrv_rest.servers.stalls import Stalled, StallWatch
from mlsrv_rest.settings import RestSettings
from mlsrv_rest.write_coalescing import CoalescingWriter
from mlsrv_transport_kit import subject_of

logger = logging.getLogger("mlsrv.rest")


class HypercornServer(Server):
    """One listening socket, one task for each connection."""

    protocols: ClassVar[list[str]] = ["h2", "http/1.1"]

    def __init__(self, app: RestApp, settings: RestSettings) -> None:
        super().__init__(app, settings)
        self.config = _Config(self)
        self._context = WorkerContext(None)
        self._connections: dict[asyncio.Task[None], _Connection] = {}
        self._stalls = StallWatch(settings.http_send_timeout, self._waiting)

    @property
    def size(self) -> int:
        return len(self._connections)

    def begin(self) -> None:
        self._stalls.start()

    def make_connection(self) -> asyncio.StreamReaderProtocol:
        return asyncio.StreamReaderProtocol(asyncio.StreamReader(), self._accept)

    def take_over(self, transport: asyncio.Transport, data: bytes) -> None:
        """Serve a connection that another server has accepted, and of which it has read `data`."""
        protocol = self.make_connection()
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        if data:
            protocol.data_received(data)

    async def drain(self) -> None:
        self.stop_accepting()
        for connection in self._connections.values():
            connection.idle_task.shorten(DRAIN_SECONDS)
        if self._connections:
            await asyncio.wait(self._connections, timeout=DRAIN_SECONDS)
        for connection in list(self._connections.values()):
            if connection.streams > 1:
                await connection.say_goodbye()

    async def close(self, timeout: float) -> None:
        if self._connections:
            await asyncio.wait(self._connections, timeout=timeout)
        for task, connection in self._connections.items():
            connection.writer.transport.abort()
            task.cancel()
        if self._connections:
            await asyncio.wait(self._connections, timeout=timeout)
        self._stalls.stop()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.size >= self.settings.http_max_connections:
            writer.write(self.no_room().encoded())
            writer.close()
            return
        loop = asyncio.get_running_loop()
        connection = _Connection(self, loop, self.config, self._context, {}, reader, writer)
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

    def _waiting(self) -> Iterator[tuple[Hashable, object, Stalled]]:
        for connection in self._connections.values():
            yield from connection.waiting()


class _Connection(TCPServer):
    """Hypercorn's connection at a lower cost: one timer detects idleness, where Hypercorn starts two tasks
    after each response, head and body are written together, and a stream that is no longer read is reset."""

    protocol: Any = None

    def __init__(self, server: HypercornServer, *args: Any) -> None:
        super().__init__(self._call, *args)
        self._server = server
        self._ended = False
        self.writer: Any = CoalescingWriter(self.writer)
        self.idle_task: Any = _IdleTimer(self.config.keep_alive_timeout, self._end)

    async def protocol_send(self, event: Event) -> None:
        """Send an event of the protocol, then reset the streams that are no longer read."""
        await super().protocol_send(event)
        protocol = self._http2
        if protocol is not None and protocol.reset_unread():
            await super().protocol_send(RawData(protocol.connection.data_to_send()))

    @property
    def _http2(self) -> H2Protocol | None:
        """The protocol, if it is HTTP/2."""
        protocol = None if self.protocol is None else self.protocol.protocol
        return protocol if isinstance(protocol, H2Protocol) else None

    @property
    def streams(self) -> int:
        """The number of open streams of HTTP/2."""
        return 0 if self._http2 is None else len(self._http2.streams)

    async def say_goodbye(self) -> None:
        """Tell the client of an HTTP/2 connection that no further stream is served."""
        if self._http2 is not None:
            await self._http2.say_goodbye()

    def waiting(self) -> Iterator[tuple[Hashable, object, Stalled]]:
        """Yield what waits for the client to read, as `StallWatch` takes it."""
        sent = self.writer.sent_bytes()
        if sent is not None:
            yield self, sent, self._give_up
        elif self._http2 is not None:
            for number, size in list(self._http2.waiting()):
                yield (self, number), size, partial(self._give_up_stream, number)

    def _give_up(self) -> None:
        self._report_stall()
        self.writer.transport.abort()

    def _give_up_stream(self, number: int) -> None:
        self._report_stall()
        if self._http2 is not None:
            self._task_group.spawn(self._http2.give_up, number)

    def _report_stall(self) -> None:
        logger.info(
            "An answer is given up: its client has read nothing of it for %g s",
            self._server.settings.http_send_timeout,
        )

    async def run(self) -> None:
        """Serve the connection until it ends."""
        try:
            async with TaskGroup(self.loop) as self._task_group:
                self.protocol = _Protocols(self._server, self._arguments(), self._alpn())
                await self.protocol.initiate()
                await self.idle_task.restart(None, None)
                await self._read_data()
        except OSError:
            pass  # the client has closed the connection
        finally:
            await self._close()

    def _arguments(self) -> tuple[Any, ...]:
        """Return what Hypercorn's protocols are made of."""
        peer = self.writer.get_extra_info("socket")
        if subject := subject_of(self.writer.get_extra_info("ssl_object")):
            self.state[CERTIFICATE] = subject
        return (
            self.app,
            self.config,
            self.context,
            self._task_group,
            ConnectionState(self.state),
            self.writer.get_extra_info("ssl_object") is not None,
            parse_socket_addr(peer.family, peer.getpeername()),
            parse_socket_addr(peer.family, peer.getsockname()),
            self.protocol_send,
        )

    def _alpn(self) -> str | None:
        tls = self.writer.get_extra_info("ssl_object")
        return None if tls is None else tls.selected_alpn_protocol()

    async def _call(self, scope: Any, receive: Any, send: Any, sync_spawn: Any, call_soon: Any) -> None:
        # Hypercorn may still hand over a request that was read just before the end; it could not be answered.
        if not self._ended:
            await self._server.app(scope, receive, send)

    async def _end(self) -> None:
        self._ended = True
        await self.say_goodbye()
        await self.protocol.handle(Closed())
        self.writer.close()


class _Protocols:
    """The protocol of one connection, which may change from HTTP/1.1 to HTTP/2.

    Args:
        server: of the connection.
        arguments: of Hypercorn's protocols.
        alpn: the protocol that TLS has negotiated.
    """

    def __init__(self, server: HypercornServer, arguments: tuple[Any, ...], alpn: str | None) -> None:
        self._server = server
        self._arguments = arguments
        self.protocol: H1Protocol | H2Protocol = self._http2() if alpn == "h2" else self._http1()

    async def initiate(self) -> None:
        """Send what the protocol begins with."""
        await self.protocol.initiate()

    async def handle(self, event: Event) -> None:
        """Let the protocol handle an event of the connection."""
        try:
            await self.protocol.handle(event)
        except H2ProtocolAssumedError as error:
            await self._switch(error.data)
        except H2CProtocolRequiredError as error:
            await self._switch(error.data, error.headers, error.settings)

    async def _switch(
        self, data: bytes, headers: list[tuple[bytes, bytes]] | None = None, settings: bytes | None = None
    ) -> None:
        self.protocol = self._http2()
        await self.protocol.initiate(headers, settings)
        if data:
            await self.protocol.handle(RawData(data=data))

    def _http1(self) -> H1Protocol:
        protocol = H1Protocol(*self._arguments)
        protocol.takes_h2c = self._server.settings.http_h2c_upgrade
        return protocol

    def _http2(self) -> H2Protocol:
        protocol = H2Protocol(*self._arguments)
        protocol.is_last = lambda: self._server.is_last_response
        return protocol


class _IdleTimer:
    """Ends a connection that has been idle for too long.

    It replaces Hypercorn's idle task, hence `restart` and `stop`. These only store the time; the timer
    compares it when it fires.
    """

    def __init__(self, timeout: float, end: Callable[[], Awaitable[None]]) -> None:
        self._timeout = timeout
        self._end = end
        self._loop = asyncio.get_running_loop()
        self._idle_since: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._ending: asyncio.Future[None] | None = None

    async def restart(self, task_group: object, action: object) -> None:
        """Mark the connection as idle from now on."""
        self._idle_since = self._loop.time()
        if self._timer is None:
            self._timer = self._loop.call_later(self._timeout, self._on_timer)

    async def stop(self) -> None:
        """Mark the connection as busy."""
        self._idle_since = None

    def shorten(self, timeout: float) -> None:
        """End the connection if it is idle for so many seconds from now on, or later."""
        self.cancel()
        self._timeout = timeout
        if self._idle_since is not None:
            self._timer = self._loop.call_later(timeout, self._on_timer)

    async def _end_idle(self) -> None:
        # A request may have arrived since.
        if self._idle_since is not None:
            await self._end()
        self._ending = None

    def cancel(self) -> None:
        """Cancel the timer: the connection has ended."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_timer(self) -> None:
        self._timer = None
        if self._idle_since is None:
            # `restart` starts the timer again.
            return
        left = self._idle_since + self._timeout - self._loop.time()
        if left > 0:
            self._timer = self._loop.call_later(left, self._on_timer)
        elif self._ending is None:
            self._ending = asyncio.ensure_future(self._end_idle())


class _Config(Config):
    errorlog = logger
    h11_max_incomplete_size = MAX_HEAD_BYTES
    h2_max_header_list_size = MAX_HEAD_BYTES
    include_server_header = False
    # A client that never retries a POST would lose requests to a server that closes after so many.
    keep_alive_max_requests = sys.maxsize

    def __init__(self, server: HypercornServer) -> None:
        self.keep_alive_timeout = server.settings.http_keep_alive
        self._server = server
        self._second = 0
        self._headers: list[tuple[bytes, bytes]] = []

    def response_headers(self, protocol: str) -> list[tuple[bytes, bytes]]:
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._headers = [(b"date", formatdate(second, usegmt=True).encode())]
        if protocol == "h11" and self._server.is_last_response:
            return [*self._headers, (b"connection", b"close")]
        return self._headers
