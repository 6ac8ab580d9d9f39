"""mlsrv: a model server for the Open Inference Protocol, as a kernel and plugins.

Everything below is imported when it is first used, so that a plugin's ``import mlsrv`` costs next to nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from mlsrv.lazy import kit_exports, lazy_exports

if TYPE_CHECKING:
    __version__: str

    from mlsrv import codecs, errors, handlers, testing, types, utils
    from mlsrv.context import CallContext
    from mlsrv.kernel.kernel import Kernel
    from mlsrv.metrics import log, register
    from mlsrv.model import MLModel
    from mlsrv.plugins.markers import hookimpl, hookspec
    from mlsrv.plugins.offers import (
        CodecOffer,
        ExecutorOffer,
        MeterOffer,
        RepositoryOffer,
        RuntimeOffer,
        SettingsOffer,
        TransportOffer,
    )
    from mlsrv.settings import ModelParameters, ModelSettings, Settings

    _F = TypeVar("_F", bound=Callable[..., Any])

    async def ask(request: types.InferenceRequest) -> types.InferenceResponse:
        """Return the answer of another model; see `mlsrv_arguments.ask`."""

    def predictor(function: _F) -> _F:
        """Make a model of an annotated function; see `mlsrv_arguments.predictor`."""


_HOMES = {
    "CallContext": "mlsrv.context",
    "CodecOffer": "mlsrv.plugins.offers",
    "ExecutorOffer": "mlsrv.plugins.offers",
    "Kernel": "mlsrv.kernel.kernel",
    "MLModel": "mlsrv.model",
    "MeterOffer": "mlsrv.plugins.offers",
    "ModelParameters": "mlsrv.settings",
    "ModelSettings": "mlsrv.settings",
    "RepositoryOffer": "mlsrv.plugins.offers",
    "RuntimeOffer": "mlsrv.plugins.offers",
    "Settings": "mlsrv.settings",
    "SettingsOffer": "mlsrv.plugins.offers",
    "TransportOffer": "mlsrv.plugins.offers",
    "codecs": "mlsrv.codecs",
    "errors": "mlsrv.errors",
    "handlers": "mlsrv.handlers",
    "hookimpl": "mlsrv.plugins.markers",
    "hookspec": "mlsrv.plugins.markers",
    "log": "mlsrv.metrics",
    "register": "mlsrv.metrics",
    "testing": "mlsrv.testing",
    "types": "mlsrv.types",
    "utils": "mlsrv.utils",
}

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
    "ask",
    "codecs",
    "errors",
    "handlers",
    "hookimpl",
    "hookspec",
    "log",
    "predictor",
    "register",
    "testing",
    "types",
    "utils",
]


_export = lazy_exports(__name__, _HOMES)
_kit_export = kit_exports(__name__, "mlsrv_arguments", ("ask", "predictor"))

__path__.append(f"{__path__[0]}/moved")  # modules that have another name now, for one release


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("mlsrv-core")
    if name in ("ask", "predictor"):
        return _kit_export(name)
    return _export(name)


def __dir__() -> list[str]:
    return sorted(__all__)
