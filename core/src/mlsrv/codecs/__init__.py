"""Codecs: base classes, and the codecs of installed plugins under the names that the specification gives them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from mlsrv.codecs.base import InputCodec, RequestCodec

if TYPE_CHECKING:
    from mlsrv.codecs.content import DecodedInput
    from mlsrv.codecs.registry import CodecRegistry

_OWN = {"CodecRegistry": "mlsrv.codecs.registry", "DecodedInput": "mlsrv.codecs.content"}

_PLUGINS = {
    "NumpyCodec": "mlsrv_numpy",
    "NumpyRequestCodec": "mlsrv_numpy",
    "PandasCodec": "mlsrv_pandas",
    "StringCodec": "mlsrv_text",
    "StringRequestCodec": "mlsrv_text",
    "Base64Codec": "mlsrv_text",
    "DatetimeCodec": "mlsrv_text",
}
"""Codecs of our own plugins, by the package that has them at its top level."""

__all__ = ["CodecRegistry", "DecodedInput", "InputCodec", "RequestCodec"]


def __getattr__(name: str) -> Any:
    if name in _OWN:
        return getattr(import_module(_OWN[name]), name)
    if name not in _PLUGINS:
        raise AttributeError(f"module 'mlsrv.codecs' has no attribute {name!r}")
    package = _PLUGINS[name]
    try:
        return getattr(import_module(package), name)
    except ModuleNotFoundError as error:
        if error.name != package:
            raise
        distribution = package.replace("_", "-")
        raise ImportError(
            f"mlsrv.codecs.{name} needs the plugin {distribution} (pip install {distribution})"
        ) from None
