"""Hugging Face runtime: serves models of the library transformers with mlsrv."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlsrv.lazy import lazy_exports

if TYPE_CHECKING:
    from mlsrv_huggingface.codecs import (
        ImageCodec,
        JSONCodec,
        JSONListCodec,
        NumpyListCodec,
        RawCodec,
    )
    from mlsrv_huggingface.runtime import HuggingFaceRuntime

__all__ = [
    "HuggingFaceRuntime",
    "ImageCodec",
    "JSONCodec",
    "JSONListCodec",
    "NumpyListCodec",
    "RawCodec",
]

# Lazy: loading the plugin imports neither transformers nor numpy.
__getattr__ = lazy_exports(
    __name__,
    {
        "HuggingFaceRuntime": "mlsrv_huggingface.runtime",
        "ImageCodec": "mlsrv_huggingface.codecs",
        "JSONCodec": "mlsrv_huggingface.codecs",
        "JSONListCodec": "mlsrv_huggingface.codecs",
        "NumpyListCodec": "mlsrv_huggingface.codecs",
        "RawCodec": "mlsrv_huggingface.codecs",
    },
)
