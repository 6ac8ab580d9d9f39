"""alibi runtime: serves explainers of predictions with mlsrv."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlsrv.lazy import lazy_exports

if TYPE_CHECKING:
    from mlsrv_alibi_explain.runtime import AlibiExplainRuntime

__all__ = ["AlibiExplainRuntime"]

# Lazy: loading the plugin does not import alibi.
__getattr__ = lazy_exports(__name__, {"AlibiExplainRuntime": "mlsrv_alibi_explain.runtime"})
