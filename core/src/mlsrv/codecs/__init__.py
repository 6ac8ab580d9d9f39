"""Codecs: base classes, and the codecs of installed plugins under the names that the specification gives
them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from mlsrv.codecs.base import InputCodec, RequestCodec
from mlsrv.codecs.installed import installed_codec

if TYPE_CHECKING:
    from mlsrv.codecs.content import DecodedInput
    from mlsrv.codecs.registry import CodecRegistry
    from mlsrv.codecs.single import SingleInputRequestCodec

_OWN = {
    "CodecRegistry": "mlsrv.codecs.registry",
    "DecodedInput": "mlsrv.codecs.content",
    "SingleInputRequestCodec": "mlsrv.codecs.single",
}

__all__ = ["CodecRegistry", "DecodedInput", "InputCodec", "RequestCodec", "SingleInputRequestCodec"]


def __getattr__(name: str) -> Any:
    if name in _OWN:
        return getattr(import_module(_OWN[name]), name)
    return installed_codec(__name__, name)
