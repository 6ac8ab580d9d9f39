"""Check of an installed plugin: the names of `mlsrv_testing.checks`, in the distribution mlsrv-testing."""

# ruff: noqa: F822  # the names come from the kit

from mlsrv.lazy import kit_exports

__all__ = ["Case", "Checked", "Findings", "Given", "Report", "check_plugin"]

__getattr__ = kit_exports(__name__, "mlsrv_testing.checks", __all__)
