"""Plugin: the hooks of mlsrv-numpy."""

from __future__ import annotations

import mlsrv

_PAYLOADS = ("numpy.ndarray", "numpy.generic")


@mlsrv.hookimpl
def mlsrv_codecs() -> list[mlsrv.CodecOffer]:
    """Offer the content type ``np``, for one tensor and for a whole request."""
    return [
        mlsrv.CodecOffer("np", "mlsrv_numpy.codec:NumpyCodec", "input", _PAYLOADS),
        mlsrv.CodecOffer("np", "mlsrv_numpy.codec:NumpyRequestCodec", "request", _PAYLOADS),
    ]
