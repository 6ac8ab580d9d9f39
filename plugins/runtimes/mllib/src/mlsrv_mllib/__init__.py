"""Spark runtime: serves Spark ML pipelines and Spark MLlib models with mlsrv."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlsrv.lazy import lazy_exports

if TYPE_CHECKING:
    from mlsrv_mllib.runtime import MLlibModel

__all__ = ["MLlibModel"]

# Lazy: loading the plugin does not import Spark.
__getattr__ = lazy_exports(__name__, {"MLlibModel": "mlsrv_mllib.runtime"})
