"""Undoing a Content-Encoding, piece by piece."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from mlsrv.errors import InvalidPayload, TooLarge
from mlsrv_rest.errors import HTTPProblem

_SLICE = 2**20
_PIECE = 2**22
_WINDOWS = {"gzip": 31, "x-gzip": 31, "deflate": 15}
_BARE = -15


def pieces(body: bytes | bytearray, encoding: str, limit: int) -> Iterator[bytes]:
    """What a body unpacks to, in pieces of up to 4 MiB.

    Args:
        body: as it was sent.
        encoding: ``"gzip"`` or ``"deflate"``.
        limit: bytes that there may be in all.

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
    if encoding == "deflate" and body[:1] and body[0] & 15 != zlib.DEFLATED:
        # "deflate" means the zlib form; some clients send the bare one.
        window = _BARE
    size = 0
    try:
        for piece in _inflated(body, zlib.decompressobj(window)):
            size += len(piece)
            if size > limit:
                raise TooLarge(f"The request body unpacks to more than the limit of {limit} bytes.")
            yield piece
    except zlib.error:
        raise InvalidPayload(f"The body is not valid {encoding} data.") from None


def _inflated(body: bytes | bytearray, stream: zlib._Decompress) -> Iterator[bytes]:
    view, read = memoryview(body), 0
    while read < len(view) and not stream.eof:
        rest: bytes | memoryview = view[read : read + _SLICE]
        read += _SLICE
        full = True
        while full and not stream.eof:
            piece = stream.decompress(rest, _PIECE)
            yield piece
            rest, full = stream.unconsumed_tail, len(piece) == _PIECE
    if not stream.eof:
        raise InvalidPayload("The compressed body is cut off.")
    if stream.unused_data or read < len(view):
        raise InvalidPayload("The compressed body goes on after its end.")
