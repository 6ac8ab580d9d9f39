"""MLServer's names on mlsrv: runs models, clients and scripts that were written for MLServer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlserver.version import __version__
from mlsrv.lazy import lazy_exports

if TYPE_CHECKING:
    from mlserver.metrics import log, register
    from mlserver.model import MLModel
    from mlserver.server import MLServer
    from mlserver.settings import ModelSettings, Settings

__all__ = ["MLModel", "MLServer", "ModelSettings", "Settings", "__version__", "log", "register"]

__getattr__ = lazy_exports(
    __name__,
    {
        "MLModel": "mlserver.model",
        "MLServer": "mlserver.server",
        "ModelSettings": "mlserver.settings",
        "Settings": "mlserver.settings",
        "log": "mlserver.metrics",
        "register": "mlserver.metrics",
    },
)
