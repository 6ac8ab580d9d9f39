"""scikit-learn models for mlsrv."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlsrv_sklearn.runtime import SKLearnModel

__all__ = ["SKLearnModel"]


def __getattr__(name: str) -> Any:
    # Lazy, so that loading the plugin does not import scikit-learn.
    if name in __all__:
        from mlsrv_sklearn.runtime import SKLearnModel

        return SKLearnModel
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
