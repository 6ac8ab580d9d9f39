"""Suites of tests for plugins: the names of `mlsrv_testing.contracts`, in the distribution mlsrv-testing."""

from mlsrv.lazy import kit_exports

__getattr__ = kit_exports(__name__, "mlsrv_testing.contracts")
