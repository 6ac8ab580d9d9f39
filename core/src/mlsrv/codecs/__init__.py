"""Codecs: base classes, and the codecs of installed plugins under their names in the specification."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlsrv.codecs.base import InputCodec, RequestCodec
from mlsrv.codecs.installed import installed_codec, installed_names
from mlsrv.lazy import lazy_exports

if TYPE_CHECKING:
    from mlsrv.codecs.arguments import decode_args
    from mlsrv.codecs.content import DecodedInput
    from mlsrv.codecs.elements import ElementsCodec
    from mlsrv.codecs.registration import register_input_codec, register_request_codec
    from mlsrv.codecs.registry import CodecRegistry
    from mlsrv.codecs.single import SingleInputRequestCodec

_OWN = {
    "CodecRegistry": "mlsrv.codecs.registry",
    "DecodedInput": "mlsrv.codecs.content",
    "ElementsCodec": "mlsrv.codecs.elements",
    "SingleInputRequestCodec": "mlsrv.codecs.single",
    "decode_args": "mlsrv.codecs.arguments",
    "register_input_codec": "mlsrv.codecs.registration",
    "register_request_codec": "mlsrv.codecs.registration",
}

DecodedParameterName = "_decoded_payload"
"""The key under which MLServer keeps decoded payloads among the parameters. It never occurs here: it exists
so that code which leaves it out, ``request.dict(exclude={"parameters": {DecodedParameterName}})``, runs
unchanged."""

__all__ = [
    "CodecRegistry",
    "DecodedInput",
    "ElementsCodec",
    "InputCodec",
    "RequestCodec",
    "SingleInputRequestCodec",
    "DecodedParameterName",
    "decode_args",
    "register_input_codec",
    "register_request_codec",
]
__all__.extend(installed_names())

_own_export = lazy_exports(__name__, _OWN)


def __getattr__(name: str) -> Any:
    return _own_export(name) if name in _OWN else installed_codec(__name__, name)
