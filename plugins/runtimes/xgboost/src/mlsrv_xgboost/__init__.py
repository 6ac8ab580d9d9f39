"""XGBoost runtime: serves XGBoost models with mlsrv."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlsrv.lazy import lazy_exports

if TYPE_CHECKING:
    from mlsrv_xgboost.runtime import XGBoostModel

__all__ = ["XGBoostModel"]

# Lazy: loading the plugin does not import XGBoost.
__getattr__ = lazy_exports(__name__, {"XGBoostModel": "mlsrv_xgboost.runtime"})
