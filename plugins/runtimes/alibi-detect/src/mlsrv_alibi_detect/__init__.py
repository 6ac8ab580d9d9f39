"""alibi-detect runtime: serves detectors of drift and of outliers with mlsrv."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlsrv.lazy import lazy_exports

if TYPE_CHECKING:
    from mlsrv_alibi_detect.runtime import AlibiDetectRuntime

__all__ = ["AlibiDetectRuntime"]

# Lazy: loading the plugin does not import alibi-detect.
__getattr__ = lazy_exports(__name__, {"AlibiDetectRuntime": "mlsrv_alibi_detect.runtime"})
