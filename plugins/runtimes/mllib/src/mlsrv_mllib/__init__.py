"""Spark ML pipelines and Spark MLlib models for mlsrv."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlsrv_mllib.runtime import MLlibModel

__all__ = ["MLlibModel"]


def __getattr__(name: str) -> Any:
    # Lazy, so that loading the plugin does not import Spark.
    if name in __all__:
        from mlsrv_mllib.runtime import MLlibModel

        return MLlibModel
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
