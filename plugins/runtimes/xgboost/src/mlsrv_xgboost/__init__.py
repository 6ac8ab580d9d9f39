"""XGBoost models for mlsrv."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlsrv_xgboost.runtime import XGBoostModel

__all__ = ["XGBoostModel"]


def __getattr__(name: str) -> Any:
    # Lazy, so that loading the plugin does not import XGBoost.
    if name in __all__:
        from mlsrv_xgboost.runtime import XGBoostModel

        return XGBoostModel
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
