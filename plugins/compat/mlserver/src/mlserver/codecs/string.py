"""Text codecs."""

from __future__ import annotations

from functools import partial

from mlserver.codecs.named import named_codec

__getattr__ = partial(
    named_codec,
    __name__,
    (
        "StringCodec",
        "StringRequestCodec",
    ),
)


def encode_str(elem: str) -> bytes:
    """Return a text as UTF-8."""
    return elem.encode()


def decode_str(encoded: str | bytes | None, str_codec: str = "utf-8") -> str | None:
    """Return a text; None stays."""
    return encoded.decode(str_codec) if isinstance(encoded, bytes) else encoded
