"""Codecs: content types, with MLServer's types."""

from __future__ import annotations

from typing import Any

from mlserver.codecs.base import (
    InputCodec,
    InputCodecLike,
    RequestCodec,
    RequestCodecLike,
    find_input_codec,
    find_request_codec,
    register_input_codec,
    register_request_codec,
)
from mlserver.codecs.decorator import decode_args
from mlserver.codecs.errors import CodecError
from mlserver.codecs.named import named_codec
from mlserver.codecs.utils import (
    DecodedParameterName,
    SingleInputRequestCodec,
    get_decoded,
    get_decoded_or_raw,
    has_decoded,
)

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
_FUNCTIONS = (
    "decode_inference_request",
    "decode_request_input",
    "encode_inference_response",
    "encode_response_output",
)


def __getattr__(name: str) -> Any:
    if name in _FUNCTIONS:
        from mlsrv_mlserver import content

        return getattr(content, name)
    return named_codec(__name__, _CODECS, name)
