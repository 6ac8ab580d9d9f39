"""Moved to `mlsrv.settings`; this name is kept for one release."""

from mlsrv.lazy import moved_exports

__getattr__ = moved_exports(__name__, "mlsrv.settings")
