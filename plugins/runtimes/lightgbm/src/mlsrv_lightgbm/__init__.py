"""LightGBM runtime: serves LightGBM models with mlsrv."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlsrv.lazy import lazy_exports

if TYPE_CHECKING:
    from mlsrv_lightgbm.runtime import LightGBMModel

__all__ = ["LightGBMModel"]

# Lazy: loading the plugin does not import LightGBM.
__getattr__ = lazy_exports(__name__, {"LightGBMModel": "mlsrv_lightgbm.runtime"})
