"""Texts, base64 and dates as content types: ``str``, ``base64`` and ``datetime``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlsrv_text.base64 import Base64Codec
    from mlsrv_text.datetime import DatetimeCodec
    from mlsrv_text.string import StringCodec, StringRequestCodec

_HOMES = {
    "Base64Codec": "base64",
    "DatetimeCodec": "datetime",
    "StringCodec": "string",
    "StringRequestCodec": "string",
}

__all__ = ["Base64Codec", "DatetimeCodec", "StringCodec", "StringRequestCodec"]


def __getattr__(name: str) -> Any:
    # Lazy, so that loading the plugin imports neither the protocol nor numpy.
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(f"mlsrv_text.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
