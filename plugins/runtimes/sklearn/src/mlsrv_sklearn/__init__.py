"""scikit-learn runtime: serves scikit-learn models with mlsrv."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlsrv.lazy import lazy_exports

if TYPE_CHECKING:
    from mlsrv_sklearn.runtime import SKLearnModel

__all__ = ["SKLearnModel"]

# Lazy: loading the plugin does not import scikit-learn.
__getattr__ = lazy_exports(__name__, {"SKLearnModel": "mlsrv_sklearn.runtime"})
