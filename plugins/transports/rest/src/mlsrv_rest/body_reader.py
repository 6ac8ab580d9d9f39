"""Reading request bodies within limits."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from time import monotonic

from mlsrv.errors import Overloaded, TooLarge
from mlsrv.kernel import Kernel
from mlsrv.telemetry.kernel_metrics import REJECTED
from mlsrv_rest.body_budget import UNCOUNTED, Bodies
from mlsrv_rest.calls import Call
from mlsrv_rest.decompression import pieces
from mlsrv_rest.errors import ClientGone, HTTPProblem
from mlsrv_rest.reply import Message, Receive, Reply, Scope, Send
from mlsrv_rest.settings import RestSettings

DISCARD_BYTES = 16 * 2**20
"""A body that is refused is still read, so that its client gets the answer and keeps the connection; up to
here."""
DISCARD_SECONDS = 5.0
LINGER_SECONDS = 2.0
"""How long a connection is still read from after an answer that closes it: closing with unread bytes loses
the answer."""

SLOWEST = 2**14
"""Bytes of a body that must come each second, on average, after the time that every body gets."""

_SLOW = "http_slow"
_IN_A_THREAD = 2**14
"""Compressed bytes from which unpacking leaves the event loop."""


class Unread(Exception):
    """The body was not read to its end: the answer closes the connection. The cause is what it tells."""


class BodyReader:
    """Reads bodies whole: not too large, not too slowly, and not too many at once.

    Args:
        bodies: counts those that are held.
        settings: the limits.
        kernel: records refusals.
    """

    def __init__(self, bodies: Bodies, settings: RestSettings, kernel: Kernel) -> None:
        self._bodies = bodies
        self._kernel = kernel
        self._limit = settings.http_max_body_size
        self._unpacked_limit = settings.unpacked_limit
        self._seconds = settings.http_receive_timeout

    async def read(self, call: Call, headers: Mapping[str, str]) -> bytes | bytearray:
        """The body of a request, without its Content-Encoding.

        Raises:
            TooLarge: it has too many bytes; it was read to its end, but for `Unread`.
            Overloaded: there are too many bytes of bodies already; likewise.
            Unread: because of one of these, or because it did not come in time.
            HTTPProblem: 415, an encoding that is not known.
            InvalidPayload: a compressed body is damaged.
            ClientGone: the client went away before its end.
        """
        declared = _declared(headers)
        if declared > self._limit:
            raise await _refused(call.receive, self._limit)
        try:
            if declared > UNCOUNTED:
                self._bodies.expect(declared)
            body = await self._received(call)
        except Overloaded as error:
            self._count(error.reason)
            raise Unread from error
        except asyncio.CancelledError:
            if not call.late:
                raise
            call.task.uncancel()
            self._count(_SLOW)
            raise Unread from _too_slow(self._seconds)
        encoding = headers.get("content-encoding", "").strip().lower()
        if not encoding or encoding == "identity":
            return body
        try:
            return await self._unpacked(call, body, encoding)
        except Overloaded as error:
            self._count(error.reason)
            raise

    def _count(self, reason: str) -> None:
        self._kernel.metrics.record(REJECTED, 1.0, ("", "", reason))

    async def _received(self, call: Call) -> bytes | bytearray:
        body: bytes | bytearray = b""
        in_time, more = monotonic() + self._seconds, True
        try:
            while more:
                call.due = in_time + len(body) / SLOWEST
                message = await call.receive()
                _check_connected(message)
                chunk, more = message.get("body", b""), message.get("more_body", False)
                if not body:
                    # The only chunk of a small body, which is most of them, is not copied.
                    body = chunk
                elif chunk:
                    if isinstance(body, bytes):
                        body = bytearray(body)
                    body += chunk
                if len(body) > self._limit:
                    break
                if len(body) > UNCOUNTED:
                    self._bodies.keep(call, len(body))
        finally:
            call.due = None
        if len(body) <= self._limit:
            return body
        del body
        self._bodies.drop(call)
        raise await _refused(call.receive, self._limit) if more else TooLarge.of(self._limit)

    async def _unpacked(self, call: Call, body: bytes | bytearray, encoding: str) -> bytes | bytearray:
        plain = bytearray()
        unpacked = pieces(body, encoding, self._unpacked_limit)
        in_a_thread = len(body) >= _IN_A_THREAD
        while True:
            piece = await asyncio.to_thread(next, unpacked, None) if in_a_thread else next(unpacked, None)
            if piece is None:
                break
            plain += piece
            self._bodies.keep(call, len(body) + len(plain))
        self._bodies.keep(call, len(plain))
        return plain


async def discard(receive: Receive, allowance: float) -> bool:
    """Read and throw away. True at the end of the body, False after `allowance` bytes."""
    while allowance >= 0:
        message = await receive()
        _check_connected(message)
        allowance -= len(message.get("body", b""))
        if not message.get("more_body"):
            return True
    return False


async def send_and_close(reply: Reply, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request whose body has not been read to its end, and let the connection go.

    The client gets the whole answer first, and some time to take it while the rest of its body is thrown
    away: closing at once would reset the connection and lose the answer.
    """
    headers = reply.headers
    if scope.get("http_version", "1.1").startswith("1"):
        headers = [*headers, (b"connection", b"close")]
    # It goes on while the last message is sent: a server may be unable to end a request that nobody reads
    # from.
    reading = asyncio.ensure_future(discard(receive, math.inf))
    try:
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await send({"type": "http.response.body", "body": reply.body, "more_body": True})
        await asyncio.wait({reading}, timeout=LINGER_SECONDS)
        await send({"type": "http.response.body", "body": b""})
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


async def _refused(receive: Receive, limit: int) -> TooLarge | Unread:
    try:
        async with asyncio.timeout(DISCARD_SECONDS):
            whole = await discard(receive, DISCARD_BYTES)
    except TimeoutError:
        whole = False
    if whole:
        return TooLarge.of(limit)
    unread = Unread()
    unread.__cause__ = TooLarge.of(limit)
    return unread


def _declared(headers: Mapping[str, str]) -> int:
    text = headers.get("content-length", "")
    return int(text) if len(text) < 20 and text.isdecimal() else 0


def _too_slow(seconds: float) -> HTTPProblem:
    return HTTPProblem(
        408,
        f"The request body did not arrive in time: within {seconds:g} seconds, "
        f"and one more for each {SLOWEST} bytes.",
    )


def _check_connected(message: Message) -> None:
    if message["type"] == "http.disconnect":
        raise ClientGone
