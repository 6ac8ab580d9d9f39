"""LightGBM models for mlsrv."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlsrv_lightgbm.runtime import LightGBMModel

__all__ = ["LightGBMModel"]


def __getattr__(name: str) -> Any:
    # Lazy, so that loading the plugin does not import LightGBM.
    if name in __all__:
        from mlsrv_lightgbm.runtime import LightGBMModel

        return LightGBMModel
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
