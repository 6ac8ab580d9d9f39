"""Uvicorn server: HTTP/1.1 with httptools.

Uses Uvicorn's connections, but not its ``Server``, which installs signal handlers and polls.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Hashable, Iterable, Iterator
from email.utils import formatdate
from functools import lru_cache
from typing import Any, ClassVar
from urllib.parse import unquote

import httptools
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from mlsrv_rest.access import CERTIFICATE
from mlsrv_rest.app import RestApp
from mlsrv_rest.asgi import DISCONNECTED, FLUSHED
from mlsrv_rest.servers.base import DRAIN_SECONDS, Server
from mlsrv_rest.servers.cycle import Cycle
from mlsrv_rest.servers.request_head import (
    INVALID,
    MAX_HEAD_BYTES,
    TOO_LARGE,
    UNKNOWN_VERSION,
    Refusal,
    check_head,
    origin_form,
    without_upgrade,
)
from mlsrv_rest.servers.stalls import Stalled, StallWatch
from mlsrv_rest.settings import RestSettings
from mlsrv_rest.write_coalescing import CoalescingWriter
from mlsrv_transport_kit import subject_of

logger = logging.getLogger("mlsrv.rest")

_LONG_TARGET = 256
"""Bytes from which the parts of a target are not kept for the next request."""


class UvicornServer(Server):
    """One listening socket, one protocol object for each connection."""

    protocols: ClassVar[list[str]] = ["http/1.1"]

    def __init__(self, app: RestApp, settings: RestSettings) -> None:
        super().__init__(app, settings)
        self._config = uvicorn.Config(
            app,
            http=Connection,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            proxy_headers=False,
            forwarded_allow_ips=[],
            workers=1,
            server_header=False,
            timeout_keep_alive=settings.http_keep_alive,  # type: ignore[arg-type]  # only added to times
        )
        self._config.load()
        self._state = ServerState()
        self._clock: asyncio.TimerHandle | None = None
        self._stalls = StallWatch(settings.http_send_timeout, self._waiting)

    @property
    def connections(self) -> list[Connection]:
        """The connections that are open."""
        return [each for each in self._state.connections if isinstance(each, Connection)]

    @property
    def size(self) -> int:
        return len(self._state.connections)

    def begin(self) -> None:
        self._tick()
        self._stalls.start()

    def make_connection(self) -> Connection:
        return Connection(self, self._config, self._state)

    async def drain(self) -> None:
        self.stop_accepting()
        for connection in self.connections:
            connection.drain()
        if lost := [connection.lost for connection in self.connections]:
            await asyncio.wait(lost, timeout=DRAIN_SECONDS)
        for connection in self.connections:
            if connection.is_idle:
                connection.transport.close()

    async def close(self, timeout: float) -> None:
        if lost := [connection.lost for connection in self.connections]:
            await asyncio.wait(lost, timeout=timeout)
        for connection in self.connections:
            connection.transport.abort()
        self._stalls.stop()
        if self._clock is not None:
            self._clock.cancel()

    def _waiting(self) -> Iterator[tuple[Hashable, object, Stalled]]:
        for connection in self.connections:
            sent = connection.transport.sent_bytes()  # type: ignore[attr-defined]  # of `CoalescingWriter`
            if sent is not None:
                yield connection, sent, connection.give_up

    def _tick(self) -> None:
        """Renew the Date header, once a second."""
        self._state.default_headers = [(b"date", formatdate(time.time(), usegmt=True).encode())]
        self._clock = asyncio.get_running_loop().call_later(1.0, self._tick)


class _Refused(Exception):
    """Ends the parser: the head of a request breaks a rule."""


class Connection(HttpToolsProtocol):
    """Uvicorn's connection without its access log, with errors in the protocol's form, the rules of
    `mlsrv_rest.servers.request_head`, and a future for its end."""

    def __init__(self, server: UvicornServer, config: uvicorn.Config, server_state: ServerState) -> None:
        super().__init__(config, server_state, {})
        self._server = server
        self.access_log = False
        self.lost: asyncio.Future[None] = self.loop.create_future()
        self._head_bytes = 0
        self._head_timer: asyncio.TimerHandle | None = None
        self._refusal: Refusal | None = None
        self._idle_since: float | None = None

    @property
    def is_idle(self) -> bool:
        """True if no request is being served."""
        return _is_answered(self.cycle)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in the base
        super().connection_made(transport)
        self.transport = CoalescingWriter(transport)  # type: ignore[assignment]  # it delegates to one
        self.app_state |= {FLUSHED: self.flow.drain, DISCONNECTED: self.lost}
        tls = transport.get_extra_info("ssl_object")
        if tls is not None and (subject := subject_of(tls)):
            self.app_state[CERTIFICATE] = subject
        # Uvicorn itself detects idleness only after the first response.
        self._become_idle()
        if self._server.size > self._server.settings.http_max_connections:
            self._refuse(self._server.no_room())

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self.upgrade(data[upgrade.args[0] :])
            return
        except httptools.HttpParserError as error:
            unknown_version = "version" in str(error)
            self._refuse(self._refusal or (UNKNOWN_VERSION if unknown_version else INVALID))
            return
        # Uvicorn creates the cycle of a request when its headers are complete.
        if getattr(self.cycle, "scope", None) is not self.scope:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
                self._refuse(TOO_LARGE)
            elif self._head_timer is None:
                # Uvicorn treats a connection as busy from the first byte on.
                self._head_timer = self.loop.call_later(self.timeout_keep_alive, self._on_head_timeout)
        else:
            self._head_bytes = 0
            self._cancel_head_timer()

    def on_headers_complete(self) -> None:
        method, version = self.parser.get_method(), self.parser.get_http_version()
        self._refusal = check_head(method, self.url, version, self.headers)
        if self._refusal is not None:
            raise _Refused
        if self.parser.should_upgrade():
            return  # the parser stops here, see `upgrade`
        self.url = origin_form(self.url)
        scope: Any = self.scope
        scope["method"] = method.decode("ascii")
        scope["http_version"] = version
        parse = _known_target if len(self.url) < _LONG_TARGET else _target
        scope["path"], scope["raw_path"], scope["query_string"] = parse(self.url)
        latest = self.cycle
        self.cycle = Cycle(
            self.scope,
            self.transport,
            self.flow,
            self.logger,
            self.access_logger,
            False,  # no access log
            self.server_state.default_headers,
            asyncio.Event(),
            self.expect_100_continue,
            version != "1.0" and self.parser.should_keep_alive() and not self._server.is_last_response,
            self.on_response_complete,
        )
        if _is_answered(latest):
            self._start_asgi_task(self.cycle, self.app)
        else:  # it is answered after those that came before it
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))

    def on_message_complete(self) -> None:
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def upgrade(self, rest: bytes) -> None:
        """Parse a request again that offers another protocol, without the offer: the parser takes its body
        for that protocol.

        Args:
            rest: what follows the head of the request.
        """
        head = self.head(without_upgrade(self.headers))
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self.data_received(head + rest)

    def head(self, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
        """Return the head of the latest request, with other headers."""
        line = b"%s %s HTTP/%s" % (
            self.parser.get_method(),
            self.url,
            self.parser.get_http_version().encode(),
        )
        return b"\r\n".join([line, *(b"%s: %s" % header for header in headers), b"", b""])

    def _on_head_timeout(self) -> None:
        if not self.transport.is_closing():
            self._refuse(
                Refusal(
                    408, f"The headers of this request did not arrive within {self.timeout_keep_alive:g} s."
                )
            )

    def _cancel_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        else:
            self._become_idle()

    def _become_idle(self) -> None:
        # One timer for many requests: it compares the times when it fires.
        self._idle_since = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self._on_idle_timer)

    def _unset_keepalive_if_required(self) -> None:
        self._idle_since = None

    def _on_idle_timer(self) -> None:
        self.timeout_keep_alive_task = None
        if self._idle_since is None:
            return  # `_become_idle` starts the timer again
        left = self._idle_since + self.timeout_keep_alive - self.loop.time()
        if left > 0:
            self.timeout_keep_alive_task = self.loop.call_later(left, self._on_idle_timer)
        else:
            self.timeout_keep_alive_handler()

    def _cancel_idle_timer(self) -> None:
        if self.timeout_keep_alive_task is not None:
            self.timeout_keep_alive_task.cancel()
            self.timeout_keep_alive_task = None

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._end()

    def leave(self) -> None:
        """Let another protocol have the transport."""
        self.connections.discard(self)
        self._end()

    def _end(self) -> None:
        self._cancel_head_timer()
        self._cancel_idle_timer()
        if not self.lost.done():
            self.lost.set_result(None)

    def drain(self) -> None:
        """Make the response to come the last one."""
        self.timeout_keep_alive = DRAIN_SECONDS  # type: ignore[assignment]  # only added to times
        self._cancel_idle_timer()
        if self._idle_since is not None:
            self._become_idle()
        if not _is_answered(self.cycle) and not self.cycle.response_started:
            self.cycle.keep_alive = False

    def give_up(self) -> None:
        """Abort the connection: its client reads nothing."""
        logger.info(
            "A connection is closed: its client has read nothing of an answer for %g s",
            self._server.settings.http_send_timeout,
        )
        self.transport.abort()

    def _refuse(self, refusal: Refusal) -> None:
        latest = self.pipeline[0][0] if self.pipeline else self.cycle
        if not _is_answered(latest):
            # An answer to an earlier request must come first; the connection ends after it.
            latest.keep_alive = False
            self.flow.pause_reading()
            return
        self.transport.write(refusal.encoded())
        self.transport.close()


def _target(url: bytes) -> tuple[str, bytes, bytes]:
    """Return path, raw path and query of a target.

    Raises:
        HttpParserInvalidURLError: it is none.
    """
    parsed = httptools.parse_url(url)
    raw: bytes = parsed.path
    path = raw.decode("ascii")
    return unquote(path) if "%" in path else path, raw, parsed.query or b""


_known_target = lru_cache(256)(_target)


def _is_answered(cycle: Any) -> bool:
    """Return whether a request of Uvicorn, None before the first, has got its whole answer."""
    return cycle is None or bool(cycle.response_complete)
