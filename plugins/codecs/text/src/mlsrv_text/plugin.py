"""Plugin: the hooks of mlsrv-text."""

from __future__ import annotations

import mlsrv


@mlsrv.hookimpl
def mlsrv_codecs() -> list[mlsrv.CodecOffer]:
    """Offer the content types ``str`` (tensors and whole requests), ``base64`` and ``datetime``."""
    texts = ("builtins.list", "builtins.str")
    return [
        mlsrv.CodecOffer("str", "mlsrv_text.string:StringCodec", "input", texts),
        mlsrv.CodecOffer("str", "mlsrv_text.string:StringRequestCodec", "request", texts),
        mlsrv.CodecOffer(
            "base64", "mlsrv_text.base64:Base64Codec", "input", ("builtins.list", "builtins.bytes")
        ),
        mlsrv.CodecOffer(
            "datetime",
            "mlsrv_text.datetime:DatetimeCodec",
            "input",
            ("builtins.list", "datetime.datetime"),
            sample="1970-01-01T00:00:00",
        ),
    ]
