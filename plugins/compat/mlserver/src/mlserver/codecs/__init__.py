"""Codecs: content types, with MLServer's types."""

from __future__ import annotations

from typing import Any

from mlserver.codecs.base import (
    InputCodec,
    InputCodecLike,
    RequestCodec,
    RequestCodecLike,
    register_input_codec,
    register_request_codec,
)
from mlserver.codecs.decorator import decode_args
from mlserver.codecs.errors import CodecError
from mlserver.codecs.named import named_codec
from mlserver.codecs.utils import (
    FUNCTIONS,
    DecodedParameterName,
    SingleInputRequestCodec,
    get_decoded,
    get_decoded_or_raw,
    has_decoded,
)
from mlsrv.lazy import lazy_exports

__all__ = [
    "Base64Codec",
    "CodecError",
    "DatetimeCodec",
    "DecodedParameterName",
    "InputCodec",
    "InputCodecLike",
    "NumpyCodec",
    "NumpyRequestCodec",
    "PandasCodec",
    "RequestCodec",
    "RequestCodecLike",
    "SingleInputRequestCodec",
    "StringCodec",
    "StringRequestCodec",
    "decode_args",
    "decode_inference_request",
    "decode_request_input",
    "encode_inference_response",
    "encode_response_output",
    "find_input_codec",
    "find_request_codec",
    "get_decoded",
    "get_decoded_or_raw",
    "has_decoded",
    "register_input_codec",
    "register_request_codec",
]

_CODECS = (
    "Base64Codec",
    "DatetimeCodec",
    "NumpyCodec",
    "NumpyRequestCodec",
    "PandasCodec",
    "StringCodec",
    "StringRequestCodec",
)
_function = lazy_exports(__name__, FUNCTIONS)


def __getattr__(name: str) -> Any:
    return named_codec(__name__, _CODECS, name) if name in _CODECS else _function(name)
