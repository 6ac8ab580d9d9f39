"""Check of an installed plugin: the names of `mlsrv_testing.checks`, in the distribution mlsrv-testing."""

from mlsrv.lazy import kit_exports

__getattr__ = kit_exports(__name__, "mlsrv_testing.checks")
