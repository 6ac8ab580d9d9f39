"""Reading request bodies within limits."""

from __future__ import annotations

import asyncio
import math
import zlib
from collections.abc import Mapping

from mlsrv.errors import InvalidPayload, TooLarge
from mlsrv_rest.errors import ClientGone, HTTPProblem
from mlsrv_rest.reply import Message, Receive, Reply, Scope, Send

DISCARD_BYTES = 16 * 2**20
"""A body that is refused is still read, so that its client gets the answer and keeps the connection; up to
here."""
DISCARD_SECONDS = 5.0
LINGER_SECONDS = 2.0
"""How long a connection is still read from after an answer that closes it: closing with unread bytes loses
the answer."""

_IN_A_THREAD = 2**14
"""Compressed bytes from which unpacking leaves the event loop."""
_WINDOWS = {"gzip": 31, "x-gzip": 31, "deflate": 15}


class Unread(TooLarge):
    """Too large even to be thrown away: the answer closes the connection."""


async def read_body(receive: Receive, headers: Mapping[str, str], limit: int) -> bytes | bytearray:
    """The whole body as it was sent.

    Raises:
        TooLarge: it has more than `limit` bytes; all of it was read, but for `Unread`.
        ClientGone: the client went away before its end.
    """
    declared = headers.get("content-length")
    if declared is not None and len(declared) < 20 and declared.isdecimal() and int(declared) > limit:
        raise await _refuse(receive, limit)
    body: bytes | bytearray = b""
    while True:
        message = await receive()
        _check_connected(message)
        chunk = message.get("body", b"")
        if not body:
            # The only chunk of a small body, which is most of them, is not copied.
            body = chunk
        elif chunk:
            if isinstance(body, bytes):
                body = bytearray(body)
            body += chunk
        more = message.get("more_body", False)
        if len(body) > limit:
            del body
            raise await _refuse(receive, limit) if more else TooLarge.of(limit)
        if not more:
            return body


async def discard(receive: Receive, allowance: float) -> bool:
    """Read and throw away. True at the end of the body, False after `allowance` bytes."""
    while allowance >= 0:
        message = await receive()
        _check_connected(message)
        allowance -= len(message.get("body", b""))
        if not message.get("more_body"):
            return True
    return False


def unpack(body: bytes | bytearray, encoding: str, limit: int) -> bytes:
    """Undo a Content-Encoding.

    Raises:
        HTTPProblem: 415, an encoding that is not known.
        TooLarge: there is more than `limit` bytes of it.
        InvalidPayload: it is damaged or cut off.
    """
    window = _WINDOWS.get(encoding)
    if window is None:
        raise HTTPProblem(
            415,
            f'The Content-Encoding "{encoding[:40]}" is not supported; send gzip, deflate or none.',
            ((b"accept-encoding", b"gzip, deflate"),),
        )
    try:
        try:
            return _inflate(body, window, limit)
        except zlib.error:
            if encoding != "deflate":
                raise
            # "deflate" means the zlib form; some clients send the bare one.
            return _inflate(body, -15, limit)
    except zlib.error:
        raise InvalidPayload(f"The body is not valid {encoding} data.") from None


async def decoded(body: bytes | bytearray, headers: Mapping[str, str], limit: int) -> bytes | bytearray:
    """The body without its Content-Encoding. Raises as `unpack`."""
    encoding = headers.get("content-encoding", "").strip().lower()
    if not encoding or encoding == "identity":
        return body
    if len(body) < _IN_A_THREAD:
        return unpack(body, encoding, limit)
    return await asyncio.to_thread(unpack, body, encoding, limit)


def _inflate(body: bytes | bytearray, window: int, limit: int) -> bytes:
    stream = zlib.decompressobj(window)
    plain = stream.decompress(body, limit + 1)
    if len(plain) > limit:
        raise TooLarge(f"The request body unpacks to more than the limit of {limit} bytes.")
    if not stream.eof:
        raise InvalidPayload("The compressed body is cut off.")
    if stream.unused_data:
        raise InvalidPayload("The compressed body goes on after its end.")
    return plain


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


async def _refuse(receive: Receive, limit: int) -> TooLarge:
    try:
        async with asyncio.timeout(DISCARD_SECONDS):
            whole = await discard(receive, DISCARD_BYTES)
    except TimeoutError:
        whole = False
    return TooLarge.of(limit) if whole else Unread.of(limit)


def _check_connected(message: Message) -> None:
    if message["type"] == "http.disconnect":
        raise ClientGone
