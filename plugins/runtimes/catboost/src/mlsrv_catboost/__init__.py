"""CatBoost runtime: serves CatBoost models with mlsrv."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlsrv.lazy import lazy_exports

if TYPE_CHECKING:
    from mlsrv_catboost.runtime import CatboostModel

__all__ = ["CatboostModel"]

# Lazy: loading the plugin does not import CatBoost.
__getattr__ = lazy_exports(__name__, {"CatboostModel": "mlsrv_catboost.runtime"})
