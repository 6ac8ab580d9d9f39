"""Moved to `mlsrv_runtime_kit` (mlsrv-runtime-kit); this name is kept for one release."""

from mlsrv.lazy import moved_exports

__getattr__ = moved_exports(__name__, "mlsrv_runtime_kit")
