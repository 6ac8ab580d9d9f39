"""Text codecs: the content types ``str``, ``base64`` and ``datetime``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlsrv.lazy import lazy_exports

if TYPE_CHECKING:
    from mlsrv_text.base64 import Base64Codec
    from mlsrv_text.datetime import DatetimeCodec
    from mlsrv_text.string import StringCodec, StringRequestCodec

__all__ = ["Base64Codec", "DatetimeCodec", "StringCodec", "StringRequestCodec"]

# Lazy: loading the plugin imports neither the protocol nor numpy.
__getattr__ = lazy_exports(
    __name__,
    {
        "Base64Codec": "mlsrv_text.base64",
        "DatetimeCodec": "mlsrv_text.datetime",
        "StringCodec": "mlsrv_text.string",
        "StringRequestCodec": "mlsrv_text.string",
    },
)
