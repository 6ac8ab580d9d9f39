"""CatBoost models for mlsrv."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlsrv_catboost.runtime import CatboostModel

__all__ = ["CatboostModel"]


def __getattr__(name: str) -> Any:
    # Lazy, so that loading the plugin does not import CatBoost.
    if name in __all__:
        from mlsrv_catboost.runtime import CatboostModel

        return CatboostModel
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
