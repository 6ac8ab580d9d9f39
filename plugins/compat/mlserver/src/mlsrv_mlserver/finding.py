"""Finding: codecs by content type and by value, those of models first, then those of plugins."""

from __future__ import annotations

from typing import Any

from mlserver.codecs.base import InputCodec, RequestCodec, registered

from mlsrv_mlserver.wrapped_codecs import (
    installed_input_codec,
    installed_input_codecs,
    installed_request_codec,
    installed_request_codecs,
)


def find_input_codec(content_type: str) -> Any:
    """Return the codec of inputs for a content type, or None."""
    mine = (codec for codec in registered(InputCodec) if codec.ContentType == content_type)
    return next(mine, None) or installed_input_codec(content_type)


def find_request_codec(content_type: str) -> Any:
    """Return the codec of requests for a content type, or None."""
    mine = (codec for codec in registered(RequestCodec) if codec.ContentType == content_type)
    return next(mine, None) or installed_request_codec(content_type)


def find_input_codec_by_payload(payload: Any) -> Any:
    """Return the codec of inputs that encodes a value, or None."""
    codecs = (*registered(InputCodec), *installed_input_codecs())
    return next((codec for codec in codecs if codec.can_encode(payload)), None)


def find_request_codec_by_payload(payload: Any) -> Any:
    """Return the codec of requests that encodes a value, or None."""
    codecs = (*registered(RequestCodec), *installed_request_codecs())
    return next((codec for codec in codecs if codec.can_encode(payload)), None)
