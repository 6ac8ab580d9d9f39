"""Body reader: reads request bodies within limits of size and time."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from time import monotonic

from mlsrv.errors import Overloaded, TooLarge
from mlsrv.kernel_api import KernelAPI
from mlsrv.telemetry.kernel_metrics import REJECTED
from mlsrv_rest.asgi import Body, Message, Receive, Scope, Send
from mlsrv_rest.body_budget import UNCOUNTED_BYTES, BodyBudget
from mlsrv_rest.buffered_response import BufferedResponse
from mlsrv_rest.calls import Call
from mlsrv_rest.decompression import decompress
from mlsrv_rest.errors import ClientDisconnected, HTTPProblem
from mlsrv_rest.settings import RestSettings

MAX_CONTROL_BYTES = 2**16
"""Bytes of a body that carries no tensors, such as that of a repository call."""
DISCARD_BYTES = 16 * 2**20
"""Bytes of a refused body that are read and discarded, so that the client gets the response and keeps the
connection."""
DISCARD_SECONDS = 5.0
LINGER_SECONDS = 2.0
"""Seconds for which a connection is read after a response that closes it: closing it with unread bytes would
lose the response."""

MIN_BYTES_PER_SECOND = 2**14
"""Bytes of a body that must arrive each second, on average, beyond the fixed time that every body has."""

_SLOW = "http_slow"
_THREAD_BYTES = 2**14
"""Compressed bytes from which a body is decompressed in a thread."""


class UnreadBody(Exception):
    """The body was not read to its end: the response closes the connection. The cause is the error to
    report."""


class BodyReader:
    """Reads whole bodies, and refuses those that are too large, too slow, or too many at once.

    Args:
        budget: counts the bodies that are held.
        settings: the limits.
        kernel: records refusals.
    """

    def __init__(self, budget: BodyBudget, settings: RestSettings, kernel: KernelAPI) -> None:
        self._budget = budget
        self._kernel = kernel
        self._limit = settings.http_max_body_size
        self._decompressed_limit = settings.decompressed_limit
        self._seconds = settings.http_receive_timeout

    async def read(self, call: Call, headers: Mapping[str, str], limit: int | None = None) -> Body:
        """Return the body of a request, decompressed.

        Args:
            call: the request, of which nothing has been read yet.
            headers: of the request, names in lower case.
            limit: bytes that the body may have, compressed and decompressed, where that is less than what the
                settings allow.

        Raises:
            TooLarge: it has too many bytes. It was read to its end, unless `UnreadBody` is raised.
            Overloaded: the bodies of other requests leave no room; likewise.
            UnreadBody: one of these before its end, or it did not arrive in time.
            HTTPProblem: 415, the encoding is unknown.
            InvalidPayload: a compressed body is damaged.
            ClientDisconnected: the client disconnected before its end.
        """
        declared = _declared(headers)
        most = self._limit if limit is None else min(limit, self._limit)
        if declared > most:
            raise await _discard_too_large(call.receive, most)
        try:
            if declared > UNCOUNTED_BYTES:
                self._budget.check(declared)
            body = await self._receive(call, most)
        except Overloaded as error:
            self.record_rejection(error.reason)
            raise UnreadBody from error
        except asyncio.CancelledError:
            if not call.timed_out:
                raise
            call.task.uncancel()
            self.record_rejection(_SLOW)
            raise UnreadBody from _too_slow(self._seconds)
        encoding = headers.get("content-encoding", "").strip().lower()
        if not encoding or encoding == "identity":
            return body
        try:
            return await self._decompress(call, body, encoding, limit)
        except Overloaded as error:
            self.record_rejection(error.reason)
            raise

    async def discard(self, call: Call, headers: Mapping[str, str]) -> bool:
        """Discard the body of a request that is refused. Returns True if it was read to its end, and False,
        after little of it, if it is large or slow.

        Raises:
            ClientDisconnected: the client disconnected before its end.
        """
        if _declared(headers) > MAX_CONTROL_BYTES:
            return False
        try:
            async with asyncio.timeout(min(self._seconds, DISCARD_SECONDS)):
                return await discard(call.receive, MAX_CONTROL_BYTES)
        except TimeoutError:
            return False

    def record_rejection(self, reason: str) -> None:
        """Count a refused request in the metrics, under its reason."""
        self._kernel.metrics.record(REJECTED, 1.0, ("", "", reason))

    async def _receive(self, call: Call, limit: int) -> Body:
        body: Body = b""
        in_time, more = monotonic() + self._seconds, True
        try:
            while more:
                call.receive_deadline = in_time + len(body) / MIN_BYTES_PER_SECOND
                message = await call.receive()
                _check_connected(message)
                chunk, more = message.get("body", b""), message.get("more_body", False)
                if not body:
                    # Most bodies are small and have one chunk, which is not copied.
                    body = chunk
                elif chunk:
                    if isinstance(body, bytes):
                        body = bytearray(body)
                    body += chunk
                if len(body) > limit:
                    break
                if len(body) > UNCOUNTED_BYTES:
                    self._budget.hold(call, len(body))
        finally:
            call.receive_deadline = None
        if len(body) <= limit:
            return body
        del body
        self._budget.release(call)
        raise await _discard_too_large(call.receive, limit) if more else TooLarge.of(limit)

    async def _decompress(self, call: Call, body: Body, encoding: str, limit: int | None) -> Body:
        most = self._decompressed_limit if limit is None else min(limit, self._decompressed_limit)
        plain = bytearray()
        pieces = decompress(body, encoding, most)
        in_a_thread = len(body) >= _THREAD_BYTES
        while True:
            piece = await asyncio.to_thread(next, pieces, None) if in_a_thread else next(pieces, None)
            if piece is None:
                break
            plain += piece
            self._budget.hold(call, len(body) + len(plain))
        self._budget.hold(call, len(plain))
        return plain


async def discard(receive: Receive, allowance: float) -> bool:
    """Read and discard a body. Returns True at its end, False after more than `allowance` bytes."""
    while allowance >= 0:
        message = await receive()
        _check_connected(message)
        allowance -= len(message.get("body", b""))
        if not message.get("more_body"):
            return True
    return False


async def send_and_close(response: BufferedResponse, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request whose body has not been read to its end, and close the connection.

    The whole response is sent first, and the client has some time to read it while the rest of its body is
    discarded: closing at once would reset the connection and lose the response.
    """
    headers = response.headers
    if scope.get("http_version", "1.1").startswith("1"):
        headers = [*headers, (b"connection", b"close")]
    # It goes on while the last message is sent: an HTTP server may be unable to end a request whose body
    # is not read.
    reading = asyncio.ensure_future(discard(receive, math.inf))
    try:
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        await send({"type": "http.response.body", "body": response.body, "more_body": True})
        await asyncio.wait({reading}, timeout=LINGER_SECONDS)
        await send({"type": "http.response.body", "body": b""})
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


async def _discard_too_large(receive: Receive, limit: int) -> TooLarge | UnreadBody:
    try:
        async with asyncio.timeout(DISCARD_SECONDS):
            whole = await discard(receive, DISCARD_BYTES)
    except TimeoutError:
        whole = False
    if whole:
        return TooLarge.of(limit)
    unread = UnreadBody()
    unread.__cause__ = TooLarge.of(limit)
    return unread


def _declared(headers: Mapping[str, str]) -> int:
    text = headers.get("content-length", "")
    return int(text) if len(text) < 20 and text.isdecimal() else 0


def _too_slow(seconds: float) -> HTTPProblem:
    return HTTPProblem(
        408,
        f"The request body did not arrive in time: within {seconds:g} seconds, "
        f"and one more for each {MIN_BYTES_PER_SECOND} bytes.",
    )


def _check_connected(message: Message) -> None:
    if message["type"] == "http.disconnect":
        raise ClientDisconnected
