"""NumPy codecs."""

from __future__ import annotations

from functools import partial

from mlserver.codecs.named import named_codec

__getattr__ = partial(
    named_codec,
    __name__,
    (
        "NumpyCodec",
        "NumpyRequestCodec",
    ),
)
