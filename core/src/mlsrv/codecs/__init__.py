"""Codecs: base classes, and the codecs of installed plugins under their names in the specification."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from mlsrv.codecs.base import InputCodec, RequestCodec
from mlsrv.codecs.installed import installed_codec, installed_names
from mlsrv.lazy import kit_exports, lazy_exports

if TYPE_CHECKING:
    from mlsrv.codecs.content import DecodedInput
    from mlsrv.codecs.elements import ElementsCodec
    from mlsrv.codecs.registration import register_input_codec, register_request_codec
    from mlsrv.codecs.registry import CodecRegistry
    from mlsrv.codecs.single import SingleInputRequestCodec

    _F = TypeVar("_F", bound=Callable[..., Any])

    def decode_args(function: _F) -> _F:
        """Decorate a method that takes decoded inputs; see `mlsrv_arguments.decode_args`."""


_OWN = {
    "CodecRegistry": "mlsrv.codecs.registry",
    "DecodedInput": "mlsrv.codecs.content",
    "ElementsCodec": "mlsrv.codecs.elements",
    "SingleInputRequestCodec": "mlsrv.codecs.single",
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
_kit_export = kit_exports(__name__, "mlsrv_arguments", ("decode_args",))


def __getattr__(name: str) -> Any:
    if name == "decode_args":
        return _kit_export(name)
    return _own_export(name) if name in _OWN else installed_codec(__name__, name)
