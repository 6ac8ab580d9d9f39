"""Decompression: decodes the Content-Encoding of a body piece by piece."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from mlsrv.errors import InvalidPayload, TooLarge
from mlsrv_rest.errors import HTTPProblem

MAX_RATIO = 100
"""Bytes that each byte of a body may decompress to; tensors compress to a tenth of their size at best."""
FREE_BYTES = 2**20
"""Bytes that any body may decompress to, whatever the ratio."""

_INPUT_BYTES = 2**20
_OUTPUT_BYTES = 2**22
_WINDOW_BITS = {"gzip": 31, "x-gzip": 31, "deflate": 15}
_RAW_DEFLATE = -15


def decompress(body: bytes | bytearray, encoding: str, limit: int) -> Iterator[bytes]:
    """Yield the decompressed body in pieces of up to 4 MiB.

    Args:
        body: as it was sent.
        encoding: ``"gzip"`` or ``"deflate"``.
        limit: bytes that the decompressed body may have.

    Raises:
        HTTPProblem: 415, the encoding is unknown.
        TooLarge: it has more than `limit` bytes, or more than `FREE_BYTES` and than `MAX_RATIO` times those
            of `body`.
        InvalidPayload: the body is damaged or truncated.
    """
    window = _WINDOW_BITS.get(encoding)
    if window is None:
        raise HTTPProblem(
            415,
            f'The Content-Encoding "{encoding[:40]}" is not supported; send gzip, deflate or none.',
            ((b"accept-encoding", b"gzip, deflate"),),
        )
    if encoding == "deflate" and body[:1] and body[0] & 15 != zlib.DEFLATED:
        # "deflate" means the zlib format; some clients send raw deflate data.
        window = _RAW_DEFLATE
    size = 0
    try:
        for piece in _inflate(body, zlib.decompressobj(window)):
            size += len(piece)
            if size > limit:
                raise TooLarge(f"The request body unpacks to more than the limit of {limit} bytes.")
            if size > FREE_BYTES and size > MAX_RATIO * len(body):
                raise TooLarge(f"The request body unpacks to more than {MAX_RATIO} times its size.")
            yield piece
    except zlib.error:
        raise InvalidPayload(f"The body is not valid {encoding} data.") from None


def _inflate(body: bytes | bytearray, stream: zlib._Decompress) -> Iterator[bytes]:
    view, read = memoryview(body), 0
    while read < len(view) and not stream.eof:
        rest: bytes | memoryview = view[read : read + _INPUT_BYTES]
        read += _INPUT_BYTES
        full = True
        while full and not stream.eof:
            piece = stream.decompress(rest, _OUTPUT_BYTES)
            yield piece
            rest, full = stream.unconsumed_tail, len(piece) == _OUTPUT_BYTES
    if not stream.eof:
        raise InvalidPayload("The compressed body is cut off.")
    if stream.unused_data or read < len(view):
        raise InvalidPayload("The compressed body goes on after its end.")
