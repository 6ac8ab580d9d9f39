"""mlsrv: a model server for the Open Inference Protocol, as a kernel and plugins.

Everything below is imported when it is first used, so that a plugin's ``import mlsrv`` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    __version__: str

    from mlsrv import codecs, errors, handlers, testing, types, utils
    from mlsrv.context import CallContext
    from mlsrv.kernel import Kernel
    from mlsrv.markers import hookimpl, hookspec
    from mlsrv.metrics import log, register
    from mlsrv.model import MLModel
    from mlsrv.offers import (
        CodecOffer,
        ExecutorOffer,
        MeterOffer,
        RepositoryOffer,
        RuntimeOffer,
        SettingsOffer,
        TransportOffer,
    )
    from mlsrv.settings import ModelParameters, ModelSettings, Settings

_HOMES = {
    "CallContext": "context",
    "CodecOffer": "offers",
    "ExecutorOffer": "offers",
    "Kernel": "kernel",
    "MLModel": "model",
    "MeterOffer": "offers",
    "ModelParameters": "settings",
    "ModelSettings": "settings",
    "RepositoryOffer": "offers",
    "RuntimeOffer": "offers",
    "Settings": "settings",
    "SettingsOffer": "offers",
    "TransportOffer": "offers",
    "hookimpl": "markers",
    "hookspec": "markers",
    "log": "metrics",
    "register": "metrics",
}
_MODULES = ("codecs", "errors", "handlers", "testing", "types", "utils")

__all__ = [
    "CallContext",
    "CodecOffer",
    "ExecutorOffer",
    "Kernel",
    "MLModel",
    "MeterOffer",
    "ModelParameters",
    "ModelSettings",
    "RepositoryOffer",
    "RuntimeOffer",
    "Settings",
    "SettingsOffer",
    "TransportOffer",
    "__version__",
    "codecs",
    "errors",
    "handlers",
    "hookimpl",
    "hookspec",
    "log",
    "register",
    "testing",
    "types",
    "utils",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(import_module(f"mlsrv.{_HOMES[name]}"), name)
    elif name in _MODULES:
        value = import_module(f"mlsrv.{name}")
    elif name == "__version__":
        from importlib.metadata import version

        value = version("mlsrv-core")
    else:
        raise AttributeError(f"module 'mlsrv' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
