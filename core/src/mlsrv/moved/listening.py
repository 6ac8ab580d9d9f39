"""Moved to `mlsrv_transport_kit` (mlsrv-transport-kit); this name is kept for one release."""

from mlsrv.lazy import moved_exports

__getattr__ = moved_exports(__name__, "mlsrv_transport_kit")
